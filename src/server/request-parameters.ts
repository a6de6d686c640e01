/** What requests may hold: the schemas that check them and describe them in /openapi.json. */
import { isSnowflake } from '../discord/index.ts'
import { ServerError } from './errors.ts'

export type Schema = Readonly<Record<string, unknown>>

/** Discord itself lists no more than 1,000 at a time. */
export const IDS_PER_REQUEST_MAX = 1000
const ROWS_PER_REQUEST_MAX = 1000
const SHOWN_CHARACTERS_MAX = 40

export const SNOWFLAKE: Schema = { type: 'string', format: 'snowflake' }
/** Repeated (`id=1&id=2`) or separated by commas. */
export const SNOWFLAKES: Schema = {
  type: 'array',
  items: SNOWFLAKE,
  maxItems: IDS_PER_REQUEST_MAX,
}
/** Of every list: keyset pagination. */
export const PAGE: Readonly<Record<string, Schema>> = {
  after: { ...SNOWFLAKE, description: 'Only what stands behind this id.' },
  limit: {
    type: 'integer',
    minimum: 1,
    maximum: ROWS_PER_REQUEST_MAX,
    description: 'The most entries; without it the whole list is streamed.',
  },
}

/** What ajv needs to know of the formats above. */
export const AJV_OPTIONS = {
  customOptions: { formats: { snowflake: isSnowflake }, verbose: true, strict: false },
} as const

interface Violation {
  readonly instancePath?: string
  readonly keyword?: string
  readonly params?: Readonly<Record<string, unknown>>
  readonly data?: unknown
  readonly message?: string | undefined
}

/** A violation as a sentence that names the parameter and what is expected. */
export function badRequest(violations: readonly Violation[]): ServerError {
  const { instancePath = '', keyword, params = {}, data, message = '' } = violations[0] ?? {}
  const name = instancePath.split('/')[1] ?? ''
  const where = name === '' || /^[0-9]+$/.test(name) ? 'the body' : name
  const shown = shorten(data)
  const parameter = keyword === 'required' ? String(params['missingProperty']) : where
  return new ServerError('SERVER_BAD_REQUEST', sentence(), { parameter })

  function sentence(): string {
    if (keyword === 'format') {
      return `${where} ${shown} is not an id: expected a decimal number from 1 to 18446744073709551615.`
    }
    if (keyword === 'required') return `The query parameter ${parameter} is missing.`
    if (keyword === 'maxItems') {
      const count = Array.isArray(data) ? data.length : 'too many'
      return `${where} has ${count} ids: expected no more than ${String(params['limit'])} in one request.`
    }
    if (keyword === 'enum') {
      const known = (params['allowedValues'] as readonly string[]).join(', ')
      return `${where} ${shown} is not known: expected ${known}.`
    }
    return `${where} ${shown} cannot be used: it ${message}.`
  }
}

/** Splits lists that came with commas; run before the schemas. */
export function splitLists(
  query: Record<string, unknown>,
  schemas: Readonly<Record<string, Schema>>,
): void {
  for (const [name, schema] of Object.entries(schemas)) {
    const given = query[name]
    if (schema['type'] === 'array') {
      if (given === undefined) continue
      const values = Array.isArray(given) ? (given as unknown[]) : [given]
      query[name] = values.flatMap((value) => String(value).split(',')).filter((id) => id !== '')
    } else if (Array.isArray(given)) {
      query[name] = given[0]
    }
  }
}

function shorten(data: unknown): string {
  const text = typeof data === 'string' ? data : (JSON.stringify(data) ?? '')
  const short =
    text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}…` : text
  return JSON.stringify(short)
}
