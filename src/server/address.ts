import { messageOf } from '../base/index.ts'
import { ServerError } from './errors.ts'

export interface ListenAddress {
  readonly host: string
  readonly port: number
}

const REASONS = [
  ['EADDRINUSE', 'another program listens there'],
  ['EACCES', 'the port needs privileges that this program does not have'],
  ['EADDRNOTAVAIL', 'it is not an address of this host'],
  ['ENOTFOUND', 'its name is not known'],
] as const

/**
 * Reads an address in Go's notation: `localhost:80`, `:8080` (every IPv4 interface), `[::1]:0`.
 *
 * @param flag where it came from, for the message.
 * @throws ServerError SERVER_CANNOT_LISTEN
 */
export function parseListenAddress(address: string, flag: string): ListenAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):([0-9]{1,5})$/.exec(address)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) {
    throw new ServerError(
      'SERVER_CANNOT_LISTEN',
      `-${flag} ${JSON.stringify(address)}: expected host:port, as 127.0.0.1:8080 or :8080.`,
      { address },
    )
  }
  const host = match[1] ?? match[2] ?? ''
  return { host: host === '' ? '0.0.0.0' : host, port }
}

/** Whether only this host reaches it. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

/**
 * The address under which others reach a listener: as given (port 0: the listener's own), else where it listens; on every
 * interface the host's name stands for it.
 */
export function advertisedAddress(listening: string, given: string, hostName: string): string {
  const { host, port } = parseListenAddress(listening, 'addr')
  if (given !== '') {
    const own = parseListenAddress(given, 'advertise')
    return formatAddress({ host: own.host, port: own.port === 0 ? port : own.port })
  }
  const isEvery = host === '0.0.0.0' || host === '::'
  return formatAddress({ host: isEvery ? hostName : host, port })
}

/** `host:port`, an IPv6 host in brackets. */
export function formatAddress({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** The error for an address that could not be bound. */
export function cannotListen(address: string, flag: string, cause: unknown): ServerError {
  // grpc-js has no code on its error, only the messages of the sockets.
  const text = messageOf(cause)
  const known = REASONS.find(([code]) => text.includes(code))
  const reason = known === undefined ? text : known[1]
  return new ServerError(
    'SERVER_CANNOT_LISTEN',
    `Cannot listen on ${address}: ${reason}. Give another address by -${flag}.`,
    { address },
    { cause },
  )
}
