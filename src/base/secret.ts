import { inspect } from 'node:util'

/** A string that does not show itself in logs, JSON or inspect(); reveal() is the only way to it. */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  reveal(): string {
    return this.#value
  }

  toString(): string {
    return '[redacted]'
  }

  toJSON(): string {
    return '[redacted]'
  }

  [inspect.custom](): string {
    return '[redacted]'
  }
}

/** `postgres://user:***@host/db`: a URL as it may be logged. Anything unparsable is hidden whole. */
export function redactUrl(url: string): string {
  // `bob:pass@host` parses as the scheme `bob:`.
  if (!url.includes('://') && url.includes('@')) return '[redacted]'
  try {
    const parsed = new URL(url)
    if (parsed.password !== '') parsed.password = '***'
    for (const key of parsed.searchParams.keys()) {
      if (/pass|secret|token|key/i.test(key)) parsed.searchParams.set(key, '***')
    }
    return parsed.toString()
  } catch {
    return url.includes('@') ? '[redacted]' : url
  }
}
