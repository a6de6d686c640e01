/** The file of -destinations: any number of destinations, in YAML or JSON (which is YAML as well). */
import { readFileSync } from 'node:fs'
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLMap } from 'yaml'
import { messageOf, nearest, Secret } from '../base/index.ts'
import { EVENT_NAMES, isEventName } from '../discord/index.ts'
import {
  type DestinationConfig,
  type DestinationDefaults,
  type DestinationKind,
  redisPlace,
  refuseDuplicates,
} from './destination-config.ts'
import { ConfigError } from './errors.ts'
import { GATEWAY_OPTIONS } from './gateway-options.ts'

const DESTINATIONS_MAX = 64
const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/
/** Whose gaps are logged under this name. */
const RESERVED_NAME = 'cache'
const KINDS: readonly DestinationKind[] = ['redis-list', 'grpc-subscribe']
const KEYS = ['name', 'kind', 'events', 'required', 'queue-events-max', 'queue-bytes-max']
const REDIS_KEYS = ['address', 'prefix', 'payload', 'encoding']

/**
 * Reads the file.
 *
 * @throws ConfigError CONFIG_DESTINATIONS_FILE, CONFIG_UNKNOWN_KEY, CONFIG_UNKNOWN_EVENT,
 * CONFIG_DUPLICATE_DESTINATION; with line and column, never with a value that may hold a password.
 */
export function readDestinationsFile(
  path: string,
  defaults: DestinationDefaults,
): DestinationConfig[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError(
      'CONFIG_DESTINATIONS_FILE',
      `-destinations: ${messageOf(error)}`,
      { file: path },
      { cause: error },
    )
  }
  return new DestinationsReader(path, text, defaults).read()
}

class DestinationsReader {
  readonly #path: string
  readonly #text: string
  readonly #defaults: DestinationDefaults
  readonly #lines = new LineCounter()

  constructor(path: string, text: string, defaults: DestinationDefaults) {
    this.#path = path
    this.#text = text
    this.#defaults = defaults
  }

  read(): DestinationConfig[] {
    // Without prettyErrors, whose messages quote the text around the error.
    const document = parseDocument(this.#text, {
      lineCounter: this.#lines,
      prettyErrors: false,
    })
    const [error] = [...document.errors, ...document.warnings]
    if (error !== undefined) {
      throw this.#bad(error.pos[0], `the text is neither YAML nor JSON (${error.code})`)
    }
    const root = document.contents
    if (!isMap(root)) throw this.#bad(startOf(root), 'expected a map with the key `destinations`')
    const list = this.#fields(root, ['destinations']).get('destinations')
    if (!isSeq(list)) throw this.#bad(startOf(list ?? root), 'expected a list of `destinations`')
    const { items } = list
    if (items.length === 0 || items.length > DESTINATIONS_MAX) {
      throw this.#bad(startOf(list), `expected 1 to ${DESTINATIONS_MAX} destinations`)
    }
    const nodes = items as (Node | null)[]
    const destinations = nodes.map((item) => this.#destination(item, items.length === 1))
    refuseDuplicates(destinations, (index) => this.#where(startOf(nodes[index])))
    return destinations
  }

  #destination(item: Node | null, isOnly: boolean): DestinationConfig {
    if (!isMap(item)) throw this.#bad(startOf(item), 'expected a map for each destination')
    const kindNode = (item as YAMLMap).get('kind', true) as Node | undefined
    const kind = this.#choice(kindNode ?? item, 'kind', KINDS)
    const fields = this.#fields(item, kind === 'redis-list' ? [...KEYS, ...REDIS_KEYS] : KEYS)
    const nameNode = fields.get('name') ?? item
    const name = this.#string(nameNode, 'name')
    if (!NAME_PATTERN.test(name) || name === RESERVED_NAME) {
      throw this.#bad(
        startOf(nameNode),
        `expected a \`name\` of letters, digits and . _ : -, other than ${RESERVED_NAME}`,
      )
    }
    const given = <T>(key: string, read: (node: Node) => T, otherwise: T): T => {
      const node = fields.get(key)
      return node === undefined ? otherwise : read(node)
    }
    const { events, queueEventsMax, queueBytesMax, prefix, payload, encoding } = this.#defaults
    return {
      name,
      kind,
      address: kind === 'redis-list' ? this.#address(fields.get('address') ?? item) : null,
      prefix: given('prefix', (node) => this.#string(node, 'prefix'), prefix),
      payload: given(
        'payload',
        (node) => this.#choice(node, 'payload', ['d', 'envelope'] as const),
        payload,
      ),
      encoding: given(
        'encoding',
        (node) => this.#choice(node, 'encoding', ['etf', 'json', 'etf-bare'] as const),
        encoding,
      ),
      events: given('events', (node) => this.#events(node), events),
      queueEventsMax: given(
        'queue-events-max',
        (node) => this.#integer(node, 'queue-events-max'),
        queueEventsMax,
      ),
      queueBytesMax: given(
        'queue-bytes-max',
        (node) => this.#integer(node, 'queue-bytes-max'),
        queueBytesMax,
      ),
      isRequired: given('required', (node) => this.#boolean(node, 'required'), isOnly),
    }
  }

  /** The values of a map by key; every key must be one of `keys`. */
  #fields(map: YAMLMap, keys: readonly string[]): Map<string, Node> {
    const fields = new Map<string, Node>()
    for (const { key, value } of map.items) {
      const name = isScalar(key) ? String(key.value) : ''
      if (!keys.includes(name)) {
        const guess = nearest(name, keys)
        throw new ConfigError(
          'CONFIG_UNKNOWN_KEY',
          `${this.#where(startOf(key))}: ${JSON.stringify(name)} is not a key here${guess === null ? '' : `; did you mean ${guess}`}. Known are ${keys.join(', ')}.`,
          { file: this.#path, key: name },
        )
      }
      if (value === null) throw this.#bad(startOf(key), `\`${name}\` has no value`)
      fields.set(name, value as Node)
    }
    return fields
  }

  #address(node: Node): Secret {
    const text = this.#string(node, 'address')
    if (redisPlace(text) !== null) return new Secret(text)
    throw this.#bad(
      startOf(node),
      'expected an `address` as host:port, redis://user:password@host:port/db or rediss://',
    )
  }

  #events(node: Node): ReadonlySet<string> {
    if (!isSeq(node)) throw this.#bad(startOf(node), 'expected a list of event names')
    const names = new Set<string>()
    for (const item of node.items as (Node | null)[]) {
      const name = this.#string(item, 'events').trim().toUpperCase()
      if (!isEventName(name)) {
        const guess = nearest(name, EVENT_NAMES)
        throw new ConfigError(
          'CONFIG_UNKNOWN_EVENT',
          `${this.#where(startOf(item))}: ${JSON.stringify(name)} is not an event of Discord's${guess === null ? '' : `; did you mean ${guess}`}.`,
          { file: this.#path, event: name },
        )
      }
      names.add(name)
    }
    return names
  }

  #string(node: Node | null, key: string): string {
    if (isScalar(node) && typeof node.value === 'string' && node.value !== '') return node.value
    throw this.#bad(startOf(node), `expected a text for \`${key}\``)
  }

  #boolean(node: Node, key: string): boolean {
    if (isScalar(node) && typeof node.value === 'boolean') return node.value
    throw this.#bad(startOf(node), `expected true or false for \`${key}\``)
  }

  /** Within the bounds of the flag of the same name. */
  #integer(node: Node, key: string): number {
    const { min = 0, max = Number.MAX_SAFE_INTEGER } = GATEWAY_OPTIONS.find(
      ({ flag }) => flag === key,
    )!
    const value = isScalar(node) ? node.value : null
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
      return value
    }
    throw this.#bad(startOf(node), `expected a whole number from ${min} to ${max} for \`${key}\``)
  }

  #choice<T extends string>(node: Node, key: string, choices: readonly T[]): T {
    const value = isScalar(node) ? node.value : null
    const choice = choices.find((one) => one === value)
    if (choice !== undefined) return choice
    const guess = typeof value === 'string' ? nearest(value, choices) : null
    throw this.#bad(
      startOf(node),
      `expected one of ${choices.join(', ')} for \`${key}\`${guess === null ? '' : `; did you mean ${guess}`}`,
    )
  }

  #bad(offset: number, expected: string): ConfigError {
    return new ConfigError('CONFIG_DESTINATIONS_FILE', `${this.#where(offset)}: ${expected}.`, {
      file: this.#path,
    })
  }

  /** `file:line:column`, both counted from 1. */
  #where(offset: number): string {
    const { line, col } = this.#lines.linePos(offset)
    return `${this.#path}:${Math.max(1, line)}:${Math.max(1, col)}`
  }
}

function startOf(node: unknown): number {
  return (node as Node | null | undefined)?.range?.[0] ?? 0
}
