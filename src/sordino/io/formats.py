"""Formats that can be written, by the extension of their files."""

SOUNDFILE_FORMATS = {
    "wav": "WAV",
    "flac": "FLAC",
    "ogg": "OGG",
    "oga": "OGG",
    "aiff": "AIFF",
    "aif": "AIFF",
    "aifc": "AIFF",
    "au": "AU",
    "snd": "AU",
    "caf": "CAF",
    "w64": "W64",
    "rf64": "RF64",
}
"""Extension -> libsndfile's name of the format."""

CONTAINERS = {
    "mp3": ("mp3", "libmp3lame"),
    "m4a": ("ipod", "aac"),
    "m4b": ("ipod", "aac"),
    "aac": ("adts", "aac"),
    "opus": ("opus", "libopus"),
    "mka": ("matroska", "flac"),
    "wv": ("wv", "wavpack"),
    "wma": ("asf", "wmav2"),
    "ac3": ("ac3", "ac3"),
    "mp2": ("mp2", "mp2"),
}
"""Extension -> FFmpeg's names of the format and of its usual encoder; sound only."""

VIDEOS = {
    "mp4": ("mp4", "aac"),
    "m4v": ("mp4", "aac"),
    "mov": ("mov", "aac"),
    "mkv": ("matroska", "libopus"),
    "webm": ("webm", "libopus"),
    "avi": ("avi", "libmp3lame"),
    "ts": ("mpegts", "aac"),
    "mts": ("mpegts", "aac"),
    "m2ts": ("mpegts", "aac"),
    "mpg": ("mpeg", "mp2"),
    "mpeg": ("mpeg", "mp2"),
    "flv": ("flv", "aac"),
    "3gp": ("3gp", "aac"),
    "wmv": ("asf", "wmav2"),
    "ogv": ("ogg", "libopus"),
}
"""Extension -> FFmpeg's names of the format and of its usual audio encoder; with pictures."""

EXTENSIONS = (*SOUNDFILE_FORMATS, *CONTAINERS, *VIDEOS)

RAW_ENCODINGS = (
    *("s16le", "s16be", "s24le", "s24be", "s32le", "s32be", "u8", "s8"),
    *("f32le", "f32be", "f64le", "f64be", "alaw", "mulaw"),
)
"""FFmpeg's names for samples without a header."""
