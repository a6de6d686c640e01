import { isSnowflake } from '../discord/index.ts'
import { ServerError } from './errors.ts'

/** What a query string may hold: a parameter that is repeated is an array. */
export type Query = Readonly<Record<string, string | string[] | undefined>>

/** Discord itself lists no more than 1,000 at a time. */
const IDS_PER_REQUEST_MAX = 1000
const SHOWN_CHARACTERS_MAX = 40

/** @throws ServerError SERVER_BAD_REQUEST */
export function requireSnowflake(name: string, value: string): string {
  if (isSnowflake(value)) return value
  const shown =
    value.length > SHOWN_CHARACTERS_MAX ? `${value.slice(0, SHOWN_CHARACTERS_MAX)}…` : value
  throw new ServerError(
    'SERVER_BAD_REQUEST',
    `${name} ${JSON.stringify(shown)} is not an id: expected a decimal number from 1 to 18446744073709551615.`,
    { parameter: name },
  )
}

/**
 * Ids of a query parameter, repeated (`id=1&id=2`) or separated by commas, in the order given.
 *
 * @returns null when the parameter is absent.
 * @throws ServerError SERVER_BAD_REQUEST
 */
export function snowflakes(query: Query, name: string): string[] | null {
  const given = query[name]
  if (given === undefined) return null
  const ids = (typeof given === 'string' ? [given] : given)
    .flatMap((value) => value.split(','))
    .filter((value) => value !== '')
  if (ids.length > IDS_PER_REQUEST_MAX) {
    throw new ServerError(
      'SERVER_BAD_REQUEST',
      `${name} has ${ids.length} ids: expected no more than ${IDS_PER_REQUEST_MAX} in one request.`,
      { parameter: name },
    )
  }
  return ids.map((id) => requireSnowflake(name, id))
}

/** @throws ServerError SERVER_BAD_REQUEST also when the parameter is absent. */
export function requireSnowflakes(query: Query, name: string): string[] {
  const ids = snowflakes(query, name)
  if (ids !== null) return ids
  throw new ServerError(
    'SERVER_BAD_REQUEST',
    `The query parameter ${name} is missing: expected ids, as ${name}=1,2.`,
    { parameter: name },
  )
}

/** The first value of a query parameter that may stand once. */
export function single(query: Query, name: string): string | undefined {
  const given = query[name]
  return typeof given === 'string' ? given : given?.[0]
}
