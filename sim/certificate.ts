/**
 * A self-signed certificate for localhost, made at start: a private key has no place in a repository, and
 * Node signs but does not make certificates.
 *
 *   SEQUENCE { tbsCertificate, ecdsa-with-SHA256, BIT STRING }      RFC 5280 §4.1, DER by X.690
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'

export interface Certificate {
  /** PEM; a client that is to trust the simulator takes it as its CA (NODE_EXTRA_CA_CERTS). */
  readonly cert: string
  readonly key: string
}

const ECDSA_WITH_SHA256 = '2a8648ce3d040302'
const COMMON_NAME = '550403'
const SUBJECT_ALT_NAME = '551d11'
const BASIC_CONSTRAINTS = '551d13'
const DAYS = 3650

export function selfSigned(hosts: readonly string[], nowMs: number): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const algorithm = sequence(oid(ECDSA_WITH_SHA256))
  const name = sequence(
    der(0x31, sequence(oid(COMMON_NAME), der(0x0c, Buffer.from('gateway-sim')))),
  )
  const serial = randomBytes(16)
  serial[0] = (serial[0]! & 0x7f) | 0x40
  const tbs = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    algorithm,
    name,
    sequence(utcTime(nowMs - 86_400_000), utcTime(nowMs + DAYS * 86_400_000)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(altNames(hosts), constraints())),
  )
  const signature = sign('sha256', tbs, privateKey)
  const whole = sequence(tbs, algorithm, der(0x03, Buffer.from([0]), signature))
  return {
    cert: pem('CERTIFICATE', whole),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  }
}

/** GeneralName: dNSName [2] text, iPAddress [7] four bytes. */
function altNames(hosts: readonly string[]): Buffer {
  const names = hosts.map((host) =>
    /^\d+\.\d+\.\d+\.\d+$/.test(host)
      ? der(0x87, Buffer.from(host.split('.').map(Number)))
      : der(0x82, Buffer.from(host, 'latin1')),
  )
  return sequence(oid(SUBJECT_ALT_NAME), der(0x04, sequence(...names)))
}

/** Critical, cA TRUE: so that the certificate can be given as a CA. */
function constraints(): Buffer {
  const yes = der(0x01, Buffer.from([0xff]))
  return sequence(oid(BASIC_CONSTRAINTS), yes, der(0x04, sequence(yes)))
}

function utcTime(ms: number): Buffer {
  const text = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '')
  return der(0x17, Buffer.from(text.slice(2)))
}

function sequence(...parts: readonly Uint8Array[]): Buffer {
  return der(0x30, ...parts)
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'))
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...head]), content])
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
