"use strict";
// What a script adds to pages that work without it: keys, a countdown, times of this machine's zone, news, and unfolding before printing.
// No key here changes anything at the service.
(function () {
  const rows = () => Array.from(document.querySelectorAll("[data-row]"));
  const ways = () => Array.from(document.querySelectorAll("nav a[data-key]"));
  let at = -1;
  let began = "";

  function show(step) {
    const all = rows();
    if (all.length === 0) { return; }
    at = Math.max(0, Math.min(all.length - 1, at + step));
    all.forEach((row, index) => row.classList.toggle("at", index === at));
    all[at].scrollIntoView({ block: "nearest" });
    const first = all[at].querySelector("a[href]");
    if (first) { first.focus({ preventScroll: true }); }
  }

  function follow(selector) {
    const link = document.querySelector(selector);
    if (link) { link.click(); }
  }

  function toggle(dialog) {
    if (dialog.open) { dialog.close(); } else { dialog.showModal(); }
  }

  const typing = (element) => element.closest("input, textarea, select") !== null;

  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) { return; }
    const way = began === "g" ? ways().find((link) => link.dataset.key === event.key) : undefined;
    if (way) {
      began = "";
      way.click();
      return;
    }
    began = event.key;
    if (event.key === "?") {
      toggle(document.getElementById("keys"));
    } else if (event.key === "j") {
      show(1);
    } else if (event.key === "k") {
      show(-1);
    } else if (event.key === "n") {
      follow("#fresh");
    } else if (event.key === "/") {
      const filter = document.querySelector("[data-filter]");
      if (filter) { event.preventDefault(); filter.focus(); }
    }
  });

  function words(seconds) {
    const minutes = Math.floor(seconds / 60);
    if (minutes >= 60) { return Math.floor(minutes / 60) + "h" + (minutes % 60) + "m"; }
    return minutes > 0 ? minutes + "m" + (seconds % 60) + "s" : seconds + "s";
  }

  // What is left is told by the service's clock, as it was when the page was made: this machine's may be wrong.
  const made = document.querySelector("[data-now]");
  const loaded = Date.now();

  if (made) {
    const began = Date.parse(made.dateTime);
    setInterval(function () {
      const now = began + Date.now() - loaded;
      document.querySelectorAll("[data-until]").forEach(function (element) {
        const left = Math.round((Date.parse(element.dataset.until) - now) / 1000);
        element.textContent = left > 0 ? "expires in " + words(left) : "expired";
      });
    }, 1000);
  }

  // Times of this machine's zone, for who chose them: the service knows no zone but its own. Its own words stay as the title.
  const two = (number) => String(number).padStart(2, "0");

  function local(at) {
    const ahead = -at.getTimezoneOffset();
    const zone = (ahead < 0 ? "-" : "+") + two(Math.floor(Math.abs(ahead) / 60)) + ":" + two(Math.abs(ahead) % 60);
    const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
    return day + " " + [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":") + " " + zone;
  }

  function localise(part) {
    part.querySelectorAll("time[datetime]:not([title])").forEach(function (element) {
      element.title = element.textContent;
      element.textContent = local(new Date(element.dateTime));
    });
  }

  document.querySelectorAll("[data-scripted]").forEach((element) => { element.hidden = false; });
  if (document.documentElement.dataset.times === "local") {
    localise(document);
    document.body.addEventListener("htmx:afterSwap", (event) => localise(event.target));
  }

  // A stream of news ends by itself now and then, and the browser opens the next: that is no error for the console.
  window.htmx.createEventSource = function (url) {
    const source = new EventSource(url);
    source.addEventListener("error", function (event) {
      if (source.readyState === EventSource.CONNECTING) { event.stopImmediatePropagation(); }
    });
    return source;
  };

  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach((element) => { element.open = true; });
  });
})();
