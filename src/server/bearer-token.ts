import { createHash, timingSafeEqual } from 'node:crypto'
import type { Secret } from '../base/index.ts'
import { ServerError } from './errors.ts'

/** The token of `Authorization: Bearer …` that a listener asks for. */
export class BearerToken {
  readonly #digest: Buffer

  constructor(token: Secret) {
    this.#digest = digestOf(token.reveal())
  }

  /**
   * Compares in constant time, whatever the lengths.
   *
   * @throws ServerError SERVER_UNAUTHORIZED
   */
  require(authorization: string | undefined): void {
    const given = /^Bearer +([^ ]+) *$/i.exec(authorization ?? '')?.[1] ?? ''
    if (timingSafeEqual(digestOf(given), this.#digest)) return
    throw new ServerError(
      'SERVER_UNAUTHORIZED',
      'The request needs the header Authorization: Bearer with the right token.',
    )
  }
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
