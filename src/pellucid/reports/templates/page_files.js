// What a file is, by its bytes: which kind, whether its end is there, and whether it says how it is to be turned.
// Some browsers show what there is of a file that was cut short, and some do not turn a PNG as its EXIF says.
"use strict";

const KINDS = [ // how files begin that people have
  ["JPEG", /^\xff\xd8\xff/], ["PNG", /^\x89PNG\r\n\x1a\n/], ["GIF", /^GIF8/], ["WebP", /^RIFF....WEBP/s], ["BMP", /^BM/],
  ["TIFF", /^(II\*\0|MM\0\*)/], ["HEIC", /^....ftyp(hei|hev|mif|msf)/s], ["AVIF", /^....ftypavi/s],
  ["JPEG XL", /^(\xff\x0a|\0\0\0\x0cJXL )/], ["JPEG 2000", /^(\0\0\0\x0cjP {2}|\xff\x4f\xff\x51)/],
  ["PDF", /^%PDF/], ["Photoshop", /^8BPS/],
];
const EVERYWHERE = ["JPEG", "PNG", "GIF", "WebP", "BMP"]; // kinds that every browser decodes

const kindOf = (bytes) => {
  const start = String.fromCharCode(...bytes.subarray(0, 32));
  return KINDS.find(([, begins]) => begins.test(start))?.[0];
};

// Chunks of a PNG: [type, where its content starts, how long that is]; of one that was cut, those that are whole.
function* chunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    if (at + 12 + length > bytes.length) return;
    yield [String.fromCharCode(...bytes.subarray(at + 4, at + 8)), at + 8, length];
    at += 12 + length;
  }
}

const ENDS = {
  // The end-of-image marker, somewhere behind the start of the first scan: thumbnails before that have ends of their own.
  JPEG(bytes) {
    let at = 2;
    while (at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda) {
      at += bytes[at + 1] === 0xff ? 1 : 2 + 256 * bytes[at + 2] + bytes[at + 3];
    }
    for (let end = at; (end = bytes.indexOf(0xff, end)) >= 0; end++) if (bytes[end + 1] === 0xd9) return true;
    return false;
  },
  PNG: (bytes) => [...chunks(bytes)].some(([type]) => type === "IEND"),
  // The first frame, to the last of its blocks.
  GIF(bytes) {
    const table = (flags) => flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0;
    let at = 13 + table(bytes[10]);
    while (at < bytes.length) {
      const image = bytes[at] === 0x2c;
      if (!image && bytes[at] !== 0x21) return false;
      at += image ? 11 + table(bytes[at + 9]) : 2;
      while (bytes[at] > 0) at += bytes[at] + 1;
      if (at >= bytes.length) return false;
      if (image) return true;
      at++;
    }
    return false;
  },
  BMP: (bytes) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(2, true) <= bytes.length,
};

// Whether a file of a kind that is known here was cut short.
const isCut = (bytes) => ENDS[kindOf(bytes)]?.(bytes) === false;

// How a PNG says that it is to be turned (EXIF's orientation, 1 to 8), or 1.
function turnOfPng(bytes) {
  const found = kindOf(bytes) === "PNG" && [...chunks(bytes)].find(([type]) => type === "eXIf");
  if (!found) return 1;
  const [, start, length] = found, view = new DataView(bytes.buffer, bytes.byteOffset + start, length);
  try {
    const little = view.getUint16(0) === 0x4949, at = view.getUint32(4, little);
    for (let entry = 0; entry < view.getUint16(at, little); entry++) {
      const where = at + 2 + 12 * entry;
      if (view.getUint16(where, little) === 0x112) return view.getUint16(where + 8, little);
    }
  } catch {} // what is no EXIF turns nothing
  return 1;
}
