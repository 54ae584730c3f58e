/** Colours of loudness: ink to light on dark pages, paper to ink on light ones. */
export type Theme = "dark" | "light";

const STOPS: Record<Theme, readonly (readonly [number, number, number])[]> = {
  dark: [
    [13, 14, 24],
    [29, 24, 66],
    [79, 31, 111],
    [142, 44, 118],
    [206, 70, 96],
    [246, 126, 72],
    [253, 196, 112],
    [255, 246, 214],
  ],
  light: [
    [252, 250, 246],
    [245, 226, 206],
    [243, 186, 150],
    [226, 126, 120],
    [178, 72, 120],
    [112, 42, 112],
    [58, 24, 84],
    [22, 12, 44],
  ],
};

/** 256 pixels as they lie in ImageData (little endian), from silence to loud. */
export function palette(theme: Theme): Uint32Array {
  const stops = STOPS[theme];
  return Uint32Array.from({ length: 256 }, (_, level) => {
    const place = (level / 255) * (stops.length - 1);
    const index = Math.min(Math.floor(place), stops.length - 2);
    const [r, g, b] = [0, 1, 2].map((channel) => {
      const [low, high] = [stops[index][channel], stops[index + 1][channel]];
      return Math.round(low + (high - low) * (place - index));
    });
    return (255 << 24) | (b << 16) | (g << 8) | r;
  });
}
