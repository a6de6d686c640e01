import { PushError } from '../errors.ts'

export interface RedisAddress {
  /** Of the server, or of the first sentinel. */
  readonly host: string
  readonly port: number
  /** Who is asked which server is the master; null: the address is the server's own. */
  readonly sentinels: {
    readonly hosts: readonly { readonly host: string; readonly port: number }[]
    readonly master: string
  } | null
  readonly username: string | undefined
  readonly password: string | undefined
  readonly db: number
  readonly isTls: boolean
  /** The address as it may be shown: without user and password. */
  readonly shown: string
}

const DEFAULT_PORT = 6379
const SENTINEL_PORT = 26379
/** `redis+sentinel://user:password@host:port,host:port/master/db` */
const SENTINEL_PATTERN =
  /^(rediss?)\+sentinel:\/\/(?:([^@/]*)@)?([^@/]+)\/([\w.-]+)(?:\/([0-9]{1,5}))?$/
/** A name, an IPv4 address, or an IPv6 address in brackets. */
const HOST_PATTERN = /^([\w.-]+|\[[0-9a-f:.]+\])$/i

/**
 * Reads `host:port`, `host`, `redis://user:password@host:port/db` or `rediss://…` (TLS); or with sentinels
 * `redis+sentinel://user:password@host:port,host:port/master/db` and `rediss+sentinel://…`.
 *
 * @throws PushError PUSH_BAD_ADDRESS; the message never repeats what might hold a password.
 */
export function parseRedisAddress(text: string): RedisAddress {
  const sentinel = SENTINEL_PATTERN.exec(text)
  if (sentinel !== null) return sentinelAddress(sentinel)
  const hasScheme = text.includes('://')
  const url = parseUrl(hasScheme ? text : `redis://${text}`)
  if (url === null || !HOST_PATTERN.test(url.hostname)) throw badAddress('it has no host')
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:') {
    throw badAddress(`${url.protocol}// is neither redis:// nor rediss://`)
  }
  const path = url.pathname.replace(/^\//, '')
  if (!/^[0-9]{0,5}$/.test(path)) throw badAddress('what follows the host is not a database number')
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = url.port === '' ? DEFAULT_PORT : Number(url.port)
  const db = Number(path)
  return {
    host,
    port,
    sentinels: null,
    username: url.username === '' ? undefined : decodeURIComponent(url.username),
    password: url.password === '' ? undefined : decodeURIComponent(url.password),
    db,
    isTls: url.protocol === 'rediss:',
    shown: `${url.protocol}//${url.hostname}:${port}${db === 0 ? '' : `/${db}`}`,
  }
}

function sentinelAddress([, scheme, login, list, master, db]: RegExpExecArray): RedisAddress {
  const hosts = list!.split(',').map((text) => {
    const url = parseUrl(`redis://${text}`)
    if (url === null || !HOST_PATTERN.test(url.hostname) || url.pathname !== '') {
      throw badAddress('a sentinel has no host')
    }
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
    return { host, port: url.port === '' ? SENTINEL_PORT : Number(url.port) }
  })
  const account = parseUrl(`redis://${login ?? ''}@host`)
  if (account === null) throw badAddress('user and password cannot be read')
  const { username, password } = account
  return {
    ...hosts[0]!,
    sentinels: { hosts, master: master! },
    username: username === '' ? undefined : decodeURIComponent(username),
    password: password === '' ? undefined : decodeURIComponent(password),
    db: Number(db ?? 0),
    isTls: scheme === 'rediss',
    shown: `${scheme}+sentinel://${list}/${master}${db === undefined ? '' : `/${db}`}`,
  }
}

function parseUrl(text: string): URL | null {
  try {
    const url = new URL(text)
    decodeURIComponent(url.username + url.password)
    return url
  } catch {
    return null
  }
}

function badAddress(reason: string): PushError {
  return new PushError(
    'PUSH_BAD_ADDRESS',
    `The address of Redis cannot be read: ${reason}. Write host:port, redis://user:password@host:port/db or rediss:// for TLS.`,
  )
}
