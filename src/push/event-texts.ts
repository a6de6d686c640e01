/** More names than a destination admits: the table is begun anew. */
const NAMES_MAX = 2048

/** Encoded names, and the encoded session id of each shard: made once, not per event. */
export class EventTexts {
  readonly #encode: (text: string) => Buffer
  readonly #names = new Map<string, Buffer>()
  readonly #sessionIds: string[] = []
  readonly #sessions: Buffer[] = []

  constructor(encode: (text: string) => Buffer) {
    this.#encode = encode
  }

  name(name: string): Buffer {
    let bytes = this.#names.get(name)
    if (bytes === undefined) {
      bytes = this.#encode(name)
      if (this.#names.size === NAMES_MAX) this.#names.clear()
      this.#names.set(name, bytes)
    }
    return bytes
  }

  session(shardId: number, sessionId: string): Buffer {
    if (this.#sessionIds[shardId] !== sessionId) {
      this.#sessionIds[shardId] = sessionId
      this.#sessions[shardId] = this.#encode(sessionId)
    }
    return this.#sessions[shardId]!
  }
}
