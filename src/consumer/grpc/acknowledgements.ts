/**
 * What was taken from one stream of Consume, in order. It acknowledges by one number everything up to it, while
 * handlers end in any order: the number that is sent is that of the last one before the first that is open.
 */
export class Acknowledgements {
  readonly #send: (number: string) => void
  readonly #taken: { readonly number: string; isDone: boolean }[] = []
  #isScheduled = false
  #isEnded = false

  constructor(send: (number: string) => void) {
    this.#send = send
  }

  /** @returns what confirms the event. */
  take(number: string): () => void {
    const entry = { number, isDone: false }
    this.#taken.push(entry)
    return () => {
      entry.isDone = true
      if (this.#isScheduled || this.#isEnded || this.#taken[0]?.isDone !== true) return
      this.#isScheduled = true
      // What is confirmed in the same tick leaves in one message.
      setImmediate(() => this.flush())
    }
  }

  flush(): void {
    this.#isScheduled = false
    if (this.#isEnded) return
    const open = this.#taken.findIndex(({ isDone }) => !isDone)
    const done = this.#taken.splice(0, open === -1 ? this.#taken.length : open)
    const last = done.at(-1)
    if (last !== undefined) this.#send(last.number)
  }

  /** The stream is over: what was not sent comes again on another one. */
  end(): void {
    this.#isEnded = true
  }
}
