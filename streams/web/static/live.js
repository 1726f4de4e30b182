// Keeps a page true without a reload: the server tells when the state has a new version and up to when data is known;
// the page then fetches what changed of it. Everything shown was rendered, escaped and translated by the server.
"use strict";

(() => {
  const SILENT_MS = 15000; // three missed heartbeats: the connection is dead, whatever the browser thinks of it
  const REOPEN_MS = 15000; // a refused stream (too many browsers): ask at this interval instead

  const state = document.getElementById("state");
  const clock = document.getElementById("clock");
  const link = document.getElementById("link");
  const lost = document.getElementById("lost");
  const texts = document.body.dataset;
  const language = document.documentElement.lang;
  const [second, minute, hour, day, year] = texts.units.split(" ");
  let dataUntil = Number(state.dataset.until);
  let version = state.dataset.version;
  let trueAt = Date.now();
  let fetching = false;
  let stream = null;
  let watchdog = 0;

  // This page without what surrounds the state.
  const source = new URL(location.href);
  source.searchParams.set("part", "state");
  source.hash = "";

  // The same as Texts.age() in texts.py.
  const age = (seconds) => {
    const whole = Math.max(Math.floor(seconds), 0);
    const two = (n, big, m, small) => (m ? `${n} ${big} ${m} ${small}` : `${n} ${big}`);
    if (whole < 60) return `${whole} ${second}`;
    if (whole < 3600) return `${Math.floor(whole / 60)} ${minute}`;
    if (whole < 86400) return two(Math.floor(whole / 3600), hour, Math.floor((whole % 3600) / 60), minute);
    const days = Math.floor(whole / 86400);
    if (days < 365) return two(days, day, Math.floor((whole % 86400) / 3600), hour);
    return two(Math.floor(days / 365), year, days % 365, day);
  };

  const utc = (seconds) => {
    const text = new Date(seconds * 1000).toISOString();
    const behind = Date.now() / 1000 - seconds;
    const time = document.createElement("time");
    time.dateTime = text;
    time.title = local(time);
    const date = new Date(seconds * 1000).toLocaleDateString(language === "en" ? "en-GB" : language, { timeZone: "UTC", day: "numeric", month: "short", year: "numeric" });
    time.textContent = `${behind > 43200 ? `${date}, ` : ""}${text.slice(11, 19)} UTC`;
    return time;
  };

  const local = (time) => texts.yours.replace("{time}", new Date(time.dateTime).toLocaleString());

  const titles = () => {
    for (const time of document.querySelectorAll("time")) time.title = local(time);
  };

  const ages = () => {
    if (!dataUntil) return;
    for (const span of document.querySelectorAll("[data-since]")) {
      span.textContent = age(dataUntil - Number(span.dataset.since));
    }
    clock.replaceChildren(`${texts.untilText} `, utc(dataUntil));
    const behind = Date.now() / 1000 - dataUntil;
    if (behind > 300) clock.append(` · ${texts.ago.replace("{age}", age(behind))}`);
  };

  const show = (connected) => {
    link.hidden = !connected;
    lost.hidden = connected;
    document.body.classList.toggle("lost", !connected);
    link.textContent = texts.connected;
    if (!connected) document.getElementById("lost-since").replaceChildren(utc(trueAt / 1000));
  };

  // For those who listen: the headline, when it says something new. The whole state again and again would be noise.
  const say = (text) => {
    const said = document.getElementById("said");
    if (said.textContent !== text) said.textContent = text;
    document.title = `${text} · Groundswell`;
  };

  // Makes `old` look like `fresh` and leaves alone what is the same: what has the focus, is open or being filled in.
  const morph = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    children(old, fresh);
  };

  // What has an id stays the same element wherever it goes; all else is told apart by its place.
  const children = (old, fresh) => {
    const stays = new Set([...fresh.children].map((child) => child.id));
    for (const child of [...old.children]) if (child.id && !stays.has(child.id)) child.remove();
    let place = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const known = wanted.id ? [...old.children].find((child) => child.id === wanted.id) : null;
      if (known && known !== place) {
        old.insertBefore(known, place);
        morph(known, wanted);
      } else if (!known && (!place || place.id || wanted.id)) {
        old.insertBefore(wanted, place);
      } else {
        const next = place.nextSibling;
        morph(place, wanted);
        place = next;
      }
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  };

  const replace = (html) => {
    const focused = document.activeElement;
    const fresh = state.cloneNode(false);
    fresh.innerHTML = html;
    children(state, fresh);
    if (focused && focused.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  };

  const refresh = async () => {
    if (fetching) return false;
    fetching = true;
    try {
      const answer = await fetch(source, { cache: "no-cache", signal: AbortSignal.timeout(SILENT_MS) });
      const told = answer.headers.get("State-Version");
      if (!told) return false; // not our answer
      const html = await answer.text();
      version = told;
      dataUntil = Number(answer.headers.get("Data-Until")) || dataUntil;
      replace(html);
      trueAt = Date.now();
      titles();
      ages();
      say(document.getElementById("headline").textContent);
      return true;
    } catch {
      return false; // Not reachable now: the stream says so, and brings us here again once it is back.
    } finally {
      fetching = false;
    }
  };

  const poll = async () => {
    if (!(await refresh())) return;
    show(true);
    link.textContent = texts.polling;
  };

  const open = () => {
    clearTimeout(watchdog);
    if (stream) stream.close();
    stream = new EventSource("/events");
    stream.onmessage = (message) => {
      const told = JSON.parse(message.data);
      alive();
      show(true);
      dataUntil = told.data_until || dataUntil;
      if (told.version === version) trueAt = Date.now();
      else refresh();
      ages();
    };
    stream.onerror = () => {
      show(false);
      // Refused rather than broken: the browser gives up then, we do not.
      if (stream.readyState === EventSource.CLOSED) {
        clearTimeout(watchdog);
        watchdog = setTimeout(open, REOPEN_MS);
        poll();
      }
    };
    alive();
  };

  const alive = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => {
      show(false);
      open();
    }, SILENT_MS);
  };

  titles();
  ages();
  open();
})();
