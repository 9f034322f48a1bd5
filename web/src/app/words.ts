// Numbers and texts as they are shown.

/** Characters that are not seen, or that turn the direction of what follows; tabs and ends of lines stay. */
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** At most `most` characters; what was cut is said, and what would not be seen is spelt out. */
export function cut(text: string, most = 400): string {
  if (text.length <= most) return plain(text);
  return `${plain(text.slice(0, most))}… (${count(text.length)} characters)`;
}

function plain(text: string): string {
  if (text.search(HIDDEN) < 0) return text;
  return text.replace(HIDDEN, (char) => {
    const code = char.charCodeAt(0);
    if (code < 32) return String.fromCharCode(0x2400 + code);
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

/** `12345` as `12 345`, set with thin spaces. */
export function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** `1 node`, `2 nodes`. */
export function plural(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** Seconds as `1.24 s`, `31 ms`, `2 min 5 s`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (seconds >= 120) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (seconds >= 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds >= 0.995) return `${seconds.toFixed(2)} s`;
  if (seconds >= 0.00995) return `${Math.round(seconds * 1000)} ms`;
  return `${Number((seconds * 1000).toPrecision(2))} ms`;
}

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** `+3`, `−2`: with a real minus. */
export function signed(value: number): string {
  return value < 0 ? `−${-value}` : `+${value}`;
}
