/**
 * Encrypts what must not be read from a table or its backup: AES-256-GCM with a key made from the bot's token.
 *
 *   version 1 | iv, 12 bytes | tag, 16 bytes | ciphertext
 *
 * The place (guild and column) is authenticated too: a row that was moved does not open. With another token nothing
 * opens, and what is there counts as absent: Discord has ended these voice sessions with the old token.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { Secret } from '../../base/index.ts'

const VERSION = 1
const IV_BYTES = 12
const TAG_BYTES = 16
const HEAD_BYTES = 1 + IV_BYTES + TAG_BYTES
const ALGORITHM = 'aes-256-gcm'

export class VoiceSeal {
  readonly #key: Buffer

  constructor(token: Secret) {
    const key = hkdfSync('sha256', token.reveal(), 'gateway', 'gateway_voice v1', 32)
    this.#key = Buffer.from(key)
  }

  close(plain: Uint8Array, place: string): Buffer {
    const iv = randomBytes(IV_BYTES)
    const cipher = createCipheriv(ALGORITHM, this.#key, iv, { authTagLength: TAG_BYTES })
    cipher.setAAD(Buffer.from(place))
    const text = Buffer.concat([cipher.update(plain), cipher.final()])
    return Buffer.concat([Buffer.of(VERSION), iv, cipher.getAuthTag(), text])
  }

  /** Null: another version, another key, another place, or damaged. */
  open(sealed: Buffer, place: string): Buffer | null {
    if (sealed.length < HEAD_BYTES || sealed[0] !== VERSION) return null
    const iv = sealed.subarray(1, 1 + IV_BYTES)
    const decipher = createDecipheriv(ALGORITHM, this.#key, iv, { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.from(place))
    decipher.setAuthTag(sealed.subarray(1 + IV_BYTES, HEAD_BYTES))
    try {
      return Buffer.concat([decipher.update(sealed.subarray(HEAD_BYTES)), decipher.final()])
    } catch {
      return null
    }
  }
}
