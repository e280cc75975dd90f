// A Worker for pages opened from disk, where browsers refuse real ones: the script runs in a hidden frame instead.
// The search of the site needs it; over http nothing changes.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.append(this.frame)
      const inner = this.frame.contentWindow
      inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      // one after another, as a worker would load them
      inner.importScripts = (...urls) =>
        urls.reduce((before, next) => before.then(() => this.load(next)), Promise.resolve())
      this.ready = this.load(url)
    }

    load(url) {
      return new Promise((resolve, reject) => {
        const script = this.frame.contentDocument.createElement("script")
        script.src = new URL(url, document.baseURI)
        script.onload = resolve
        script.onerror = () => reject(new Error(`${url} can't be loaded`))
        this.frame.contentDocument.body.append(script)
      })
    }

    postMessage(data) {
      const { contentWindow } = this.frame
      this.ready.then(() => contentWindow.dispatchEvent(new contentWindow.MessageEvent("message", { data })))
    }

    terminate() {
      this.frame.remove()
    }
  }
  window.Worker = window.IFrameWorker
}
