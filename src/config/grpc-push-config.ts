/** What a destination of the kind `grpc-push` has of its own. */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Node } from 'yaml'
import { messageOf, Secret } from '../base/index.ts'
import type { YamlReader } from './yaml-reader.ts'

export interface GrpcPushConfig {
  /** host:port of each consumer. */
  readonly addresses: readonly string[]
  readonly method: 'stream' | 'push'
  readonly spread: 'turn' | 'guild'
  /** PEM texts; null: no TLS. */
  readonly tls: {
    readonly ca: string | null
    readonly cert: string | null
    readonly key: Secret | null
    readonly serverName: string | null
  } | null
  /** Events that may be unanswered at each consumer; null: the default of the method. */
  readonly windowEvents: number | null
  readonly deadlineSeconds: number
}

export const GRPC_PUSH_KEYS = [
  'addresses',
  'method',
  'spread',
  'tls',
  'ca-file',
  'cert-file',
  'key-file',
  'server-name',
  'window-events',
  'deadline-seconds',
]
const CONSUMERS_MAX = 64
const WINDOW_EVENTS_MAX = 100_000
const DEADLINE_SECONDS = { default: 15, max: 600 }
const ADDRESS_PATTERN = /^(?:[\w.-]+|\[[0-9a-f:.]+\]):[0-9]{1,5}$/i

/**
 * @param item for what is missing.
 * @throws ConfigError CONFIG_DESTINATIONS_FILE
 */
export function readGrpcPush(
  yaml: YamlReader,
  item: Node,
  fields: ReadonlyMap<string, Node>,
): GrpcPushConfig {
  const choice = <T extends string>(key: string, choices: readonly T[], otherwise: T): T => {
    const node = fields.get(key)
    return node === undefined ? otherwise : yaml.choice(node, key, choices)
  }
  const integer = <T>(key: string, max: number, otherwise: T): number | T => {
    const node = fields.get(key)
    return node === undefined ? otherwise : yaml.integer(node, key, 1, max)
  }
  const addressesNode = fields.get('addresses') ?? item
  const addresses = yaml
    .list(addressesNode, '`addresses`, host:port each')
    .map((node) => readAddress(yaml, node))
  if (addresses.length === 0 || addresses.length > CONSUMERS_MAX) {
    throw yaml.bad(addressesNode, `expected 1 to ${CONSUMERS_MAX} \`addresses\``)
  }
  if (new Set(addresses).size < addresses.length) {
    throw yaml.bad(addressesNode, 'expected `addresses` that differ')
  }
  return {
    addresses,
    method: choice('method', ['stream', 'push'], 'stream'),
    spread: choice('spread', ['turn', 'guild'], 'turn'),
    tls: readTls(yaml, fields),
    windowEvents: integer('window-events', WINDOW_EVENTS_MAX, null),
    deadlineSeconds: integer('deadline-seconds', DEADLINE_SECONDS.max, DEADLINE_SECONDS.default),
  }
}

function readAddress(yaml: YamlReader, node: Node | null): string {
  const address = yaml.text(node, 'addresses')
  if (ADDRESS_PATTERN.test(address)) return address
  throw yaml.bad(node, 'expected `addresses` as host:port')
}

function readTls(yaml: YamlReader, fields: ReadonlyMap<string, Node>): GrpcPushConfig['tls'] {
  const text = (key: string): string | null => {
    const node = fields.get(key)
    return node === undefined ? null : yaml.text(node, key)
  }
  const pem = (key: string): string | null => {
    const path = text(key)
    return path === null ? null : readPem(yaml, fields.get(key)!, path)
  }
  const serverName = text('server-name')
  const [ca, cert, key] = [pem('ca-file'), pem('cert-file'), pem('key-file')]
  const isGiven = [serverName, ca, cert, key].some((value) => value !== null)
  const tlsNode = fields.get('tls')
  const isTls = tlsNode === undefined ? isGiven : yaml.boolean(tlsNode, 'tls')
  if (!isTls && isGiven) throw yaml.bad(tlsNode, 'expected no certificates with `tls: false`')
  if ((cert === null) !== (key === null)) {
    const only = fields.get('cert-file') ?? fields.get('key-file')
    throw yaml.bad(only, 'expected both of `cert-file` and `key-file`')
  }
  return isTls ? { ca, cert, key: key === null ? null : new Secret(key), serverName } : null
}

/** @param path relative to the file that names it. */
function readPem(yaml: YamlReader, node: Node, path: string): string {
  let text: string
  try {
    text = readFileSync(resolve(dirname(yaml.path), path), 'utf8')
  } catch (error) {
    throw yaml.bad(node, `expected a file that can be read (${messageOf(error)})`)
  }
  if (text.includes('-----BEGIN ')) return text
  throw yaml.bad(node, 'expected a file in PEM')
}
