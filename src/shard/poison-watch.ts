/**
 * A frame that fails whenever it is replayed would keep a shard resuming for ever. The third failure in
 * a row behind the same received sequence, the second and third during replay, gives the event up: it is
 * skipped as a counted gap. A failure after RESUMED is a new frame, so the count starts again.
 */

const POISON_FAILURES_MAX = 3

export class PoisonWatch {
  #received = -1
  #failures = 0

  /**
   * A frame failed.
   *
   * @param received highest sequence read before it.
   * @param isReplay whether RESUMED is still to come.
   * @returns whether the event behind `received` is to be skipped now.
   */
  failed(received: number, isReplay: boolean): boolean {
    const isSame = isReplay && received === this.#received
    this.#failures = isSame ? this.#failures + 1 : 1
    this.#received = received
    if (this.#failures < POISON_FAILURES_MAX) return false
    this.#failures = 0
    return true
  }
}
