// A classifier in one page: it proves itself when it opens, then answers for each image that is given to it.
// `page` is what the page knows of the model; `ort` computes the model; both stand in scripts before this one, which is
// a module, and in one with page_files.js.
const { page, ort } = globalThis;
const $ = (id) => document.getElementById(id);
const FEW = 10; // classes that are shown until all are asked for
const LEAST_SIDE = 2, MOST_PIXELS = 178956970; // as images/decode.py has it
const SEEN_TO = 2; // levels by which a browser may mix transparent pixels otherwise

class Refusal extends Error {} // with words for whoever looks at the page
let session = null, asked = 0, stream = null;
let turns = true; // whether this browser turns a PNG as its EXIF says

// Out of the page

const decoded = (text) => {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let at = 0; at < letters.length; at++) bytes[at] = letters.charCodeAt(at);
  return bytes;
};

async function unpacked(name) {
  const element = $(`packed-${name}`), bytes = decoded(element.textContent);
  element.remove();
  if (globalThis.crypto?.subtle) { // which a page has that was opened from a disk, or over https
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const hex = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    if (hex !== page.sha256[name]) throw new Refusal(`the ${name} in this page was changed after it was written`);
  }
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  try {
    return new Uint8Array(await new Response(plain).arrayBuffer());
  } catch {
    throw new Refusal(`the ${name} in this page is damaged`);
  }
}

// Computing

async function probabilities(levels, height, width) {
  const given = await session.run({ image: new ort.Tensor("uint8", levels, [1, height, width, 3]) });
  return Array.from(given.probabilities.data);
}

// What is no number, or missing, makes it none.
const furthest = (one, other) => one.reduce((most, value, at) => Math.max(most, Math.abs(value - other[at])), 0);

async function open() {
  if (!page || !ort) throw new Refusal("this page was changed after it was written, or this browser is too old");
  if (!globalThis.DecompressionStream || !globalThis.createImageBitmap) throw new Refusal("this browser is too old");
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  ort.env.wasm.wasmBinary = await unpacked("runtime");
  const model = await unpacked("model");
  session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  ort.env.wasm.wasmBinary = undefined;
  const image = await unpacked("proof");
  const away = furthest(await probabilities(image, ...page.extent), page.proof);
  if (!(away <= page.tolerance)) {
    throw new Refusal("it says something else of the proof's image than the model said when it was saved: a " +
      `probability differs by ${away.toPrecision(2)}, and ${page.tolerance} is allowed`);
  }
  const seen = await seenBy(new Blob([decoded(page.eyes.file)], { type: "image/png" })).catch(() => null);
  if (!seen || !(furthest(Array.from(seen.levels), decoded(page.eyes.levels)) <= SEEN_TO)) {
    throw new Refusal("this browser changes the pixels of images before a page can read them, as some do to protect " +
      "your privacy: allow this page to read them, or use another browser");
  }
  turns = (await seenBy(new Blob([decoded(page.eyes.turned)]))).width === 2;
  return away;
}

// An image

async function seenBy(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  if (isCut(bytes)) throw new Refusal(unreadable(bytes));
  if (!turns && turnOfPng(bytes) > 1) {
    throw new Refusal("this browser does not turn PNG files as they say: save it upright, and give it that");
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, {
      imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none",
    });
  } catch {
    throw new Refusal(unreadable(bytes));
  }
  try {
    return drawn(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

// Over the background and at its own extent: nothing is resampled, and what is shown is what the model is given.
function drawn(source, width, height) {
  if (Math.min(width, height) < LEAST_SIDE) throw new Refusal(`it is too small: ${width} x ${height} pixels`);
  const large = `it is too large for this browser: ${width} x ${height} pixels`;
  if (width * height > MOST_PIXELS) throw new Refusal(large);
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  let read;
  try {
    const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
    context.fillStyle = `rgb(${page.background.join(", ")})`;
    context.fillRect(0, 0, width, height);
    context.drawImage(source, 0, 0);
    read = context.getImageData(0, 0, width, height).data;
  } catch {
    throw new Refusal(large);
  }
  // A canvas beyond a browser's bounds may be silently empty, that is transparent.
  if (read[3] !== 255 || read[read.length - 1] !== 255) throw new Refusal(large);
  const levels = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < read.length; from += 4) {
    levels[to++] = read[from];
    levels[to++] = read[from + 1];
    levels[to++] = read[from + 2];
  }
  return { levels, width, height, canvas };
}

function unreadable(bytes) {
  if (!bytes.length) return "it is empty";
  const kind = kindOf(bytes);
  if (!kind) return "it is not an image that this browser can decode";
  if (EVERYWHERE.includes(kind)) return `it is a ${kind} file that is damaged or cut short`;
  return `this browser cannot decode this ${kind} file: save it as PNG or JPEG, and give it that`;
}

// The answer

const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

function decided(shares) {
  if (page.threshold !== null) return shares[1] >= page.threshold ? 1 : 0;
  return shares.indexOf(Math.max(...shares));
}

function made(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function named(index, className) {
  const name = made("span", className);
  if (page.looks.length) {
    const [colour, mark] = page.looks[index], sign = made("span", `mark class-${colour}`, mark);
    sign.setAttribute("aria-hidden", "true");
    name.append(sign, "\u00a0");
  }
  name.append(page.classes[index]);
  return name;
}

function bar(index, share, best) {
  const row = made("li", index === best ? "best" : ""), track = made("span", "track");
  const filled = made("span", `filled ${page.looks.length ? `class-${page.looks[index][0]}` : ""}`);
  filled.style.width = `${100 * share}%`;
  track.append(filled);
  if (page.threshold !== null && index === 1) {
    const line = made("span", "threshold");
    line.style.left = `${100 * page.threshold}%`;
    track.append(line);
  }
  track.setAttribute("aria-hidden", "true");
  row.append(named(index, "name"), track, made("span", "share", percent(share)));
  return row;
}

function sureness(share) {
  if (page.sure_from === null) return ["", ""];
  return share >= page.sure_from
    ? ["Sure", `From ${percent(page.sure_from)} on, at least 95\u00a0% of its answers on the validation images were right.`]
    : ["Not sure", `Only from ${percent(page.sure_from)} on were 95\u00a0% of its answers on the validation images right.`];
}

function show(name, image, shares, milliseconds) {
  const best = decided(shares), share = shares[best];
  const order = shares.map((_, index) => index).sort((one, other) => shares[other] - shares[one] || one - other);
  const [word, sentence] = sureness(share);
  $("said").replaceChildren(named(best, "said-name"));
  $("probability").textContent = percent(share);
  $("sureness").textContent = word;
  $("sureness").className = word === "Sure" ? "sure" : "unsure";
  $("sureness").hidden = !word;
  const called = page.threshold === null ? "" : `It says ${page.classes[1]} from ${percent(page.threshold)} on. `;
  $("sentence").textContent = called + sentence;
  const list = (few) => $("bars").replaceChildren(
    ...(few ? order.slice(0, FEW) : order).map((index) => bar(index, shares[index], best)));
  list(true);
  $("all").hidden = order.length <= FEW;
  $("all").textContent = `Show all ${order.length.toLocaleString("en")} classes`;
  $("all").onclick = () => { list(false); $("all").hidden = true; $("bars").focus(); };
  image.canvas.setAttribute("role", "img");
  image.canvas.setAttribute("aria-label", `${name}, as the model was given it`);
  $("picture").replaceChildren(image.canvas);
  $("caption").textContent =
    `${name}: ${image.width.toLocaleString("en")} x ${image.height.toLocaleString("en")} pixels, as the model was ` +
    `given them. It took ${milliseconds < 999.5 ? `${Math.ceil(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`}.`;
  $("answer").hidden = false;
  document.dispatchEvent(new CustomEvent("pellucid:answer", {
    detail: { name, best: page.classes[best], sure: word === "Sure", probabilities: shares },
  }));
}

function say(text, kind = "") {
  $("told").textContent = text;
  $("told").className = kind;
}

const painted = () => new Promise((resolve) => setTimeout(resolve, 20)); // the line above, before work begins

// `look` gives the pixels; of several images that are asked for at once, the last one is answered.
async function answer(name, look) {
  const mine = ++asked;
  say(`Looking at ${name} ...`);
  await painted();
  if (mine !== asked) return;
  try {
    const image = await look();
    if (mine !== asked) return;
    const start = performance.now();
    const shares = await probabilities(image.levels, image.height, image.width);
    if (mine !== asked) return;
    if (!shares.every((share) => share >= 0 && share <= 1)) throw new Refusal("the model gives no numbers for it");
    show(name, image, shares, performance.now() - start);
    say("");
  } catch (cause) {
    if (mine !== asked) return;
    $("answer").hidden = true;
    const reason = cause instanceof Refusal ? cause.message
      : `this browser could not compute it (${String(cause.message ?? cause).split("\n")[0].slice(0, 200)})`;
    say(`✗ ${name} has no answer: ${reason}.`, "wrong");
    document.dispatchEvent(new CustomEvent("pellucid:answer", { detail: { name, refused: reason } }));
  }
}

function take(files) {
  const list = [...(files ?? [])];
  if (!session || !list.length) return;
  stopCamera();
  answer(list[0].name || "the pasted image", () => seenBy(list[0])).then(() => {
    if (list.length > 1) $("caption").textContent += ` Of ${list.length} files, the first; give the others one by one.`;
  });
}

// The camera: asked for by a click, and never otherwise

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  $("live").hidden = true;
  $("video").srcObject = null;
}

async function startCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    say("This browser gives no camera to a page that was opened in this way. Take a picture, and choose that.", "wrong");
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 960 } }, audio: false,
    });
    $("video").srcObject = stream;
    $("live").hidden = false;
    await $("video").play();
    $("shoot").focus();
    say("");
  } catch (cause) {
    stopCamera();
    say(`There is no camera, or it may not be used (${cause.name}).`, "wrong");
  }
}

function shoot() {
  const video = $("video");
  if (!video.videoWidth) return;
  answer("the camera's image", () => {
    const image = drawn(video, video.videoWidth, video.videoHeight);
    stopCamera();
    $("camera").focus();
    return image;
  });
}

function listen() {
  $("file").addEventListener("change", () => { take($("file").files); $("file").value = ""; });
  $("camera").addEventListener("click", startCamera);
  $("shoot").addEventListener("click", shoot);
  $("stop").addEventListener("click", () => { stopCamera(); $("camera").focus(); });
  addEventListener("paste", (event) => take(event.clipboardData?.files));
  const over = (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    $("door").classList.toggle("over", event.type !== "dragleave" || event.relatedTarget !== null);
  };
  addEventListener("dragover", over);
  addEventListener("dragleave", over);
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("door").classList.remove("over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files);
    else say("That is no file: save the image first, and give this page the file.", "wrong");
  });
}

function refuse(cause) {
  session = null;
  const reason = cause instanceof Refusal ? cause.message
    : `this browser could not compute it (${String(cause?.message ?? cause).split("\n")[0].slice(0, 200)})`;
  $("proof").className = "wrong";
  $("proof").textContent = `✗ This page gives no answers: ${reason}.`;
  $("door").hidden = true;
  document.documentElement.dataset.state = "refused";
}

$("proof").textContent = "Opening the model and repeating its proof ...";
setTimeout(() => open().then((away) => {
  $("proof").className = "right";
  $("proof").textContent = "✓ Proved: here, too, the model says of a fixed image what it said when it was saved " +
    `(the probabilities differ by ${away < 1e-6 ? "less than 0.000001" : away.toFixed(6)} at most).`;
  $("door").hidden = false;
  listen();
  document.documentElement.dataset.state = "proved";
}).catch(refuse), 20);
