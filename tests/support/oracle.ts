import { createRequire } from 'node:module'

export interface Erlpack {
  /** One external term with its version byte. Integers of more than 53 bits cannot be given. */
  pack(value: unknown): Buffer
  /** Snowflake-sized integers come as decimal strings. Throws on the atom tags 118 and 119. */
  unpack(bytes: Buffer): unknown
}

/** An ETF codec that others wrote (hammerandchisel/erlpack), to compare ours with. */
export function loadErlpack(): Erlpack {
  const require = createRequire(new URL('../oracle/package.json', import.meta.url))
  try {
    return require('erlpack') as Erlpack
  } catch (cause) {
    throw new Error('erlpack is not built: run "npm test" or "node scripts/test-servers.ts" once', {
      cause,
    })
  }
}
