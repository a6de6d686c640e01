/**
 * An event's `d` on its way to sessions: encoded once for all that see the same. The hash and the ledger's
 * bytes are always those of the ETF, whatever the sessions speak.
 */
import { hash } from 'node:crypto'
import type { EtfWriter } from './wire/etf-writer.ts'
import { toJson } from './wire/value.ts'
import type { WireMap } from './wire/value.ts'

export class EncodedEvent {
  readonly t: string
  readonly guildId: bigint | null
  readonly d: WireMap
  /** The term `d` without version byte. */
  readonly etf: Buffer
  readonly hash: string
  #json: string | undefined

  constructor(t: string, guildId: bigint | null, d: WireMap, writer: EtfWriter) {
    this.t = t
    this.guildId = guildId
    this.d = d
    this.etf = writer.term(d)
    this.hash = hash('sha1', this.etf, 'hex')
  }

  get json(): string {
    this.#json ??= toJson(this.d)
    return this.#json
  }
}
