/** The file of -destinations: any number of destinations. */
import { readFileSync } from 'node:fs'
import { isMap, type Node } from 'yaml'
import { messageOf, Secret } from '../base/index.ts'
import {
  type DestinationConfig,
  type DestinationDefaults,
  type DestinationKind,
  redisPlace,
  refuseDuplicates,
  type StreamConfig,
} from './destination-config.ts'
import { ConfigError } from './errors.ts'
import { readEventNames, readFilterRules } from './filter-rules.ts'
import { GRPC_PUSH_KEYS, readGrpcPush } from './grpc-push-config.ts'
import { GATEWAY_OPTIONS } from './gateway-options.ts'
import { YamlReader } from './yaml-reader.ts'

const DESTINATIONS_MAX = 64
const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/
/** Whose gaps are logged under this name. */
const RESERVED_NAME = 'cache'
const KEYS = [
  'name',
  'kind',
  'events',
  'filter',
  'required',
  'queue-events-max',
  'queue-bytes-max',
  'queue-age-max',
  'when-full',
  'spill-bytes-max',
]
/** What else each kind has. */
const KEYS_OF: Readonly<Record<DestinationKind, readonly string[]>> = {
  'redis-list': [
    'address',
    'prefix',
    'payload',
    'encoding',
    'queue-max',
    'queue-max-bytes',
    'redis-marks',
  ],
  'redis-stream': [
    'address',
    'prefix',
    'encoding',
    'split',
    'partitions',
    'trim-entries',
    'trim-age-seconds',
  ],
  'grpc-push': ['prefix', 'payload', 'encoding', ...GRPC_PUSH_KEYS],
  'grpc-subscribe': [],
  stdout: ['payload'],
}
const KINDS = Object.keys(KEYS_OF) as DestinationKind[]
/** What people read says what it is. */
export const STDOUT_PAYLOAD = 'envelope'
const STREAM_PREFIX = 'gateway:stream:'
const STREAM_ENTRIES_MAX = 1_000_000
const PARTITIONS = { default: 16, max: 1024 }
const AGE_SECONDS_MAX = 366 * 24 * 3600

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
  const yaml = new YamlReader(path)
  const root = yaml.parse(text)
  if (!isMap(root)) throw yaml.bad(root, 'expected a map with the key `destinations`')
  const list = yaml.fields(root, ['destinations']).get('destinations')
  const items = yaml.list(list ?? root, '`destinations`')
  if (items.length === 0 || items.length > DESTINATIONS_MAX) {
    throw yaml.bad(list, `expected 1 to ${DESTINATIONS_MAX} destinations`)
  }
  const destinations = items.map((item) =>
    new DestinationReader(yaml, item, defaults).read(items.length === 1),
  )
  refuseDuplicates(destinations, (index) => yaml.where(items[index]))
  return destinations
}

/** One item of the list. */
class DestinationReader {
  readonly #yaml: YamlReader
  readonly #item: Node | null
  readonly #defaults: DestinationDefaults
  #fields: ReadonlyMap<string, Node> = new Map()

  constructor(yaml: YamlReader, item: Node | null, defaults: DestinationDefaults) {
    this.#yaml = yaml
    this.#item = item
    this.#defaults = defaults
  }

  read(isOnly: boolean): DestinationConfig {
    const yaml = this.#yaml
    const map = yaml.map(this.#item, 'each destination')
    const kindNode = map.get('kind', true) as Node | undefined
    const kind = yaml.choice(kindNode ?? map, 'kind', KINDS)
    this.#fields = yaml.fields(map, [...KEYS, ...KEYS_OF[kind]])
    const name = this.#name()
    const { events, queueEventsMax, queueBytesMax, queueAgeMaxSeconds } = this.#defaults
    const { listEntriesMax, listBytesMax, hasMarks } = this.#defaults
    const { whenFull, spillBytesMax, encoding } = this.#defaults
    const isRequired = this.#given('required', (node) => yaml.boolean(node, 'required'), isOnly)
    const payload = kind === 'stdout' ? STDOUT_PAYLOAD : this.#defaults.payload
    const prefix = kind === 'redis-stream' ? STREAM_PREFIX : this.#defaults.prefix
    const address = this.#fields.get('address') ?? map
    return {
      name,
      kind,
      address: KEYS_OF[kind].includes('address') ? this.#address(address) : null,
      prefix: this.#given('prefix', (node) => yaml.text(node, 'prefix'), prefix),
      payload: this.#choice('payload', ['d', 'envelope'], payload),
      encoding: this.#choice('encoding', ['etf', 'json', 'etf-bare'], encoding),
      events: this.#given('events', (node) => readEventNames(yaml, node), events),
      rules: this.#given('filter', (node) => readFilterRules(yaml, node), null),
      queueEventsMax: this.#asFlag('queue-events-max', queueEventsMax),
      queueBytesMax: this.#asFlag('queue-bytes-max', queueBytesMax),
      queueAgeMaxSeconds: this.#asFlag('queue-age-max', queueAgeMaxSeconds),
      whenFull: this.#choice('when-full', ['spill', 'drop-oldest', 'drop-new', 'block'], whenFull),
      stream: kind === 'redis-stream' ? this.#stream() : null,
      grpcPush: kind === 'grpc-push' ? readGrpcPush(yaml, map, this.#fields) : null,
      spillBytesMax: this.#asFlag('spill-bytes-max', spillBytesMax),
      listEntriesMax: this.#asFlag('queue-max', listEntriesMax),
      listBytesMax: this.#asFlag('queue-max-bytes', listBytesMax),
      hasMarks: this.#given('redis-marks', (node) => yaml.boolean(node, 'redis-marks'), hasMarks),
      isRequired,
    }
  }

  #given<T>(key: string, read: (node: Node) => T, otherwise: T): T {
    const node = this.#fields.get(key)
    return node === undefined ? otherwise : read(node)
  }

  #choice<T extends string>(key: string, choices: readonly T[], otherwise: T): T {
    return this.#given(key, (node) => this.#yaml.choice(node, key, choices), otherwise)
  }

  #integer<T>(key: string, min: number, max: number, otherwise: T): number | T {
    return this.#given<number | T>(
      key,
      (node) => this.#yaml.integer(node, key, min, max),
      otherwise,
    )
  }

  /** Within the bounds of the flag of the same name. */
  #asFlag(key: string, otherwise: number): number {
    const { min = 0, max = Number.MAX_SAFE_INTEGER } = GATEWAY_OPTIONS.find(
      ({ flag }) => flag === key,
    )!
    return this.#integer(key, min, max, otherwise)
  }

  #name(): string {
    const node = this.#fields.get('name') ?? this.#item
    const name = this.#yaml.text(node, 'name')
    if (NAME_PATTERN.test(name) && name !== RESERVED_NAME) return name
    throw this.#yaml.bad(
      node,
      `expected a \`name\` of letters, digits and . _ : -, other than ${RESERVED_NAME}`,
    )
  }

  #address(node: Node): Secret {
    const text = this.#yaml.text(node, 'address')
    if (redisPlace(text) !== null) return new Secret(text)
    throw this.#yaml.bad(
      node,
      'expected an `address` as host:port, redis://user:password@host:port/db, rediss:// or redis+sentinel://host:port,host:port/master',
    )
  }

  #stream(): StreamConfig {
    const split = this.#choice('split', ['none', 'event', 'guild'], 'none')
    const ageSecondsMax = this.#integer('trim-age-seconds', 1, AGE_SECONDS_MAX, null)
    const entriesMax = this.#integer(
      'trim-entries',
      0,
      Number.MAX_SAFE_INTEGER,
      ageSecondsMax === null ? STREAM_ENTRIES_MAX : 0,
    )
    const entriesNode = this.#fields.get('trim-entries')
    if (ageSecondsMax !== null && entriesNode !== undefined) {
      throw this.#yaml.bad(
        entriesNode,
        'expected only one of `trim-entries` and `trim-age-seconds`',
      )
    }
    const partitionsNode = this.#fields.get('partitions')
    if (split !== 'guild' && partitionsNode !== undefined) {
      throw this.#yaml.bad(partitionsNode, 'expected `partitions` only with `split: guild`')
    }
    return {
      split,
      partitions: this.#integer('partitions', 1, PARTITIONS.max, PARTITIONS.default),
      entriesMax: entriesMax === 0 ? null : entriesMax,
      ageSecondsMax,
    }
  }
}
