"use strict";

const LARGEST = 20e6; // bytes
const at = id => document.getElementById(id);
let about = null, given = null, made = null, stream = null, shown = null;

function say(text, wrong = false) {
  at("message").textContent = text;
  at("message").className = wrong ? "error" : "";
}

function cell(row, text, kind = "td") {
  const made = document.createElement(kind);
  if (kind === "th") made.scope = "col";
  made.textContent = text;
  row.append(made);
  return made;
}

async function asked(address, body, headers = {}) {
  let answer;
  try {
    answer = await fetch(address, body ? {method: "POST", body, headers} : {});
  } catch {
    throw new Error("The demo does not answer; is it still running?");
  }
  if (answer.headers.get("Content-Type") !== "application/json") return answer.blob();
  const content = await answer.json();
  if (content.error) throw new Error(content.error);
  return content;
}

async function working(text, task) {
  const buttons = [...document.querySelectorAll("button")];
  buttons.forEach(button => { button.disabled = true; });
  say(text);
  try {
    await task();
    say("");
  } catch (error) {
    say(error.message, true);
  } finally {
    buttons.forEach(button => { button.disabled = false; });
  }
}

function judged(judge) {
  return `${judge.distance === null ? "failed" : judge.distance.toFixed(2)} (recognized below ${judge.threshold.toFixed(2)})`;
}

function faces(found) {
  const table = at("faces"), head = document.createElement("tr");
  table.tHead.replaceChildren(head);
  for (const name of ["face", "what became of it", ...about.judges.map(judge => judge.name)]) cell(head, name, "th");
  table.tBodies[0].replaceChildren(...found.map((face, number) => {
    const row = document.createElement("tr");
    cell(row, String(number + 1));
    cell(row, face.reason ? `${face.status}: ${face.reason}` : face.status);
    face.judges.forEach(judge => { cell(row, judged(judge)).className = judge.recognized ? "recognized" : ""; });
    return row;
  }));
  table.hidden = !found.length;
}

async function anonymize(picture) {
  if (picture.size > LARGEST) {
    say(`The picture is larger than ${LARGEST / 1e6} megabytes.`, true);
    return;
  }
  at("result").hidden = at("attacking").hidden = true;
  at("attacked").replaceChildren();
  await working("Looking for faces and changing them ...", async () => {
    const answer = await asked("anonymize", picture);
    if (shown) URL.revokeObjectURL(shown);
    given = picture;
    made = await (await fetch(answer.picture)).blob();
    at("before").src = shown = URL.createObjectURL(picture);
    at("after").src = at("save").href = answer.picture;
    at("label").textContent = answer.label;
    faces(answer.faces);
    at("result").hidden = false;
    at("attacking").hidden = !answer.faces.length;
  });
}

function crops(face) {
  const sheet = document.createElement("div");
  sheet.className = "crops";
  const rows = [["original", "as it was", []], ["changed", "anonymized", face.judges_changed], ["attacked", "attacked", face.judges_attacked]];
  for (const [name, title, judges] of rows) {
    const figure = document.createElement("figure"), picture = new Image(), caption = document.createElement("figcaption");
    picture.src = face[name];
    picture.alt = title;
    caption.textContent = title;
    figure.append(picture, caption);
    for (const judge of judges) {
      const line = document.createElement("div");
      line.textContent = `${judge.name} ${judge.distance === null ? "failed" : judge.distance.toFixed(2)}${judge.recognized ? ": recognized" : ""}`;
      line.className = judge.recognized ? "recognized" : "";
      caption.append(line);
    }
    sheet.append(figure);
  }
  return sheet;
}

at("file").addEventListener("change", () => {
  if (at("file").files.length) anonymize(at("file").files[0]);
  at("file").value = "";
});

at("sample").addEventListener("click", async () => {
  let drawn = null;
  await working("Drawing somebody ...", async () => { drawn = await asked("sample"); });
  if (drawn) anonymize(drawn);
});

at("camera").addEventListener("click", async () => {
  try {
    stream = await navigator.mediaDevices.getUserMedia({video: true});
  } catch (error) {
    say(`The camera cannot be used (${error.name}).`, true);
    return;
  }
  at("video").srcObject = stream;
  at("live").hidden = false;
});

function stop() {
  if (stream) stream.getTracks().forEach(track => track.stop());
  stream = null;
  at("live").hidden = true;
}

at("stop").addEventListener("click", stop);

at("take").addEventListener("click", () => {
  const video = at("video"), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  stop();
  canvas.toBlob(anonymize, "image/png");
});

at("attack").addEventListener("click", () => working("Attacking ...", async () => {
  const answer = await asked("attack", new Blob([given, made]), {"X-First": String(given.size)});
  at("attacked").replaceChildren(...answer.faces.map(crops));
}));

working("", async () => {
  about = await asked("about");
  const what = about.domain === "synthetic" ? "rendered faces" : "photographs";
  const judges = about.judges.map(judge => judge.name).join(", ") || "no judge: nothing is verified";
  at("about").textContent += ` Method: ${about.method}, for ${what}. Judges: ${judges}.`;
  at("sample").hidden = about.domain !== "synthetic";
  at("attack").hidden = !about.attack;
  at("attack-about").textContent = about.attack
    ? `A network that learned to undo this method redraws each face from the anonymized picture alone.${about.about_attack ? ` It was ${about.about_attack}.` : ""}`
    : about.about_attack;
});
