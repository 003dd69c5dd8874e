// The one stream of a page: messages as they come, and what is wrong where none come.
const SILENT_MS = 15000; // the run sends something every 5 s
const SAID = {
  401: "The run has a new token: open the address that it printed.",
  429: "Too many wrong tokens came from here; trying again in a minute.",
  503: "Too many viewers: trying again until one has left.",
};

const shown = () => document.visibilityState === "visible";

/** Resolves after a time, and whenever the page becomes visible. */
function pause(ms) {
  return new Promise((done) => {
    const timer = ms === Infinity ? 0 : setTimeout(finish, ms);
    function finish() {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      done();
    }
    function seen() { if (shown()) finish(); }
    document.addEventListener("visibilitychange", seen);
  });
}

/** Each message is a line of JSON, and as many bytes of JPEG after it as its `jpeg` says. */
async function* messages(body, heard) {
  const reader = body.getReader();
  let bytes = new Uint8Array(0);
  let told = null;
  for (;;) {
    if (!told) {
      const end = bytes.indexOf(10);
      if (end >= 0) {
        told = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
        bytes = bytes.subarray(end + 1);
      }
    }
    if (told && bytes.length >= told.jpeg) {
      yield { ...told, picture: bytes.slice(0, told.jpeg) };
      bytes = bytes.subarray(told.jpeg);
      told = null;
      continue;
    }
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const longer = new Uint8Array(bytes.length + value.length);
    longer.set(bytes);
    longer.set(value, bytes.length);
    bytes = longer;
  }
}

/**
 * Watches the run for as long as the page is open; nothing is open while it is hidden.
 * begun(): a new stream; message(told); trouble(code, text): 0 where nobody answers.
 */
export async function watch({ begun, message, trouble }) {
  let again = 1000;
  for (;;) {
    if (!shown()) await pause(Infinity);
    const stop = new AbortController();
    let silence = 0;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => stop.abort(), SILENT_MS);
    };
    const hidden = () => { if (!shown()) stop.abort(); };
    document.addEventListener("visibilitychange", hidden);
    heard();
    try {
      const answer = await fetch("/live", { signal: stop.signal, cache: "no-store" });
      if (answer.ok) {
        let first = true;
        for await (const told of messages(answer.body, heard)) {
          if (first) { begun(); first = false; again = 1000; }
          await message(told);
        }
        if (first) trouble(0, "No connection to the run; trying again.");
      } else {
        trouble(answer.status, SAID[answer.status] || "The run refused: " + (await answer.text()));
        again = answer.status === 503 ? 2000 : 20000;
      }
    } catch (error) {
      if (shown()) trouble(0, "No connection to the run; trying again.");
    }
    stop.abort();
    clearTimeout(silence);
    document.removeEventListener("visibilitychange", hidden);
    if (shown()) await pause(again);
    again = Math.min(again + 1000, 5000);
  }
}
