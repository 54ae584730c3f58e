// One recording at a time: the other player of a pair goes on at the same place.
document.addEventListener(
  "play",
  ({ target }) => {
    for (const other of document.querySelectorAll("audio")) {
      if (other === target || other.paused) continue;
      other.pause();
      if (other.closest("figure") === target.closest("figure")) target.currentTime = other.currentTime;
    }
  },
  true,
);
