/**
 * What the simulator can be told: one table, from which the flags, `-help` and the defaults come.
 * Names are those of startSim's options; the flag is the name in kebab-case without its unit.
 */
import { ALL_INTENTS, LARGE_GUILD_MEMBERS } from '../src/discord/index.ts'
import type { Compression } from './wire/compressor.ts'
import { COMPRESSIONS } from './wire/compressor.ts'
import { KEY_ORDERS } from './wire/envelope.ts'
import type { KeyOrder } from './wire/envelope.ts'

/** Deviations that were seen on servers which speak this protocol but are not Discord. */
export const LIBERTIES = {
  'omit-nulls': 'HELLO, ACK, op 7 and op 9 lack the keys s and t',
  'ack-empty-map': 'd of an ACK is an empty map',
  'ready-zero': 'READY has s = 0',
  'control-sequence': "op 7 and op 9 carry the session's s",
  'invalid-session-without-d': 'op 9 false lacks d',
  'float-integers': 'integers of 2^31 and more are floats (ETF)',
  'nil-fields': 'fields that are optional come as null',
  'ready-version': 'READY says v 9',
  'unknown-events': 'now and then an event and an op that nobody knows',
  'zstd-frames': 'every zstd message is a frame of its own',
  'duplicate-events': 'every 50th event comes twice, with different s',
  'strict-identify':
    'an identify whose compress is no boolean is closed with 4002 (Discord takes it)',
  'require-user-agent': 'a websocket upgrade without User-Agent is refused',
} as const
export type Liberty = keyof typeof LIBERTIES

export interface SimOptions {
  readonly host: string
  readonly port: number
  readonly tls: boolean
  readonly tlsCert: string
  readonly token: string
  readonly shards: number
  readonly guilds: number
  readonly membersMax: number
  readonly membersMedian: number
  readonly nastyText: boolean
  readonly largeGuildMembers: number
  readonly rate: number
  readonly seed: number
  readonly maxConcurrency: number
  readonly identifyLimit: number
  readonly identifyWindowMs: number
  readonly budgetAnswer: 'invalid-session' | 'reset-token'
  readonly intents: number
  readonly guildsPerShardMax: number
  readonly shardMultiple: number
  readonly helloMs: number
  readonly heartbeatIntervalMs: number
  readonly heartbeatTimeoutMs: number
  readonly sendsMax: number
  readonly sessionTtlMs: number
  readonly replayEvents: number
  readonly replayTrim: boolean
  readonly expiredAnswer: 'close' | 'invalid-session'
  readonly stallMs: number
  readonly stubs: number
  readonly stubMs: number
  readonly membersIntervalMs: number
  readonly compressions: readonly Compression[]
  readonly compressionLevel: number
  readonly resumeUrl: string
  readonly atoms: 100 | 115 | 119
  readonly keys: 'atom' | 'binary'
  readonly order: KeyOrder
  readonly snowflakes: 'big' | 'string'
  readonly liberties: readonly Liberty[]
  readonly faults: readonly string[]
  readonly ledgerEvents: number
  readonly ledgerMib: number
}

type OptionKind = 'integer' | 'intents' | 'switch' | 'text' | 'choice' | 'duration' | 'list'

export interface OptionRow<Name extends keyof SimOptions = keyof SimOptions> {
  readonly name: Name
  readonly flag: string
  readonly kind: OptionKind
  readonly initial: SimOptions[Name]
  /** For choices and lists of choices. */
  readonly choices?: readonly (string | number)[]
  readonly min?: number
  readonly max?: number
  readonly sentence: string
}

export const OPTIONS: readonly OptionRow[] = [
  text('host', 'host', '127.0.0.1', 'Address to listen on.'),
  integer('port', 'port', 0, 0, 65_535, 'Port to listen on; 0 takes a free one.'),
  flag('tls', 'tls', 'Speak https and wss with a self-signed certificate for localhost.'),
  text('tlsCert', 'tls-cert', '', 'File to write the certificate to, for NODE_EXTRA_CA_CERTS.'),
  text('token', 'token', '', "The bot token that is accepted; made from the bot's id when empty."),
  integer('shards', 'shards', 1, 1, 100_000, 'Shard count that /gateway/bot recommends.'),
  integer('guilds', 'guilds', 10, 0, 1_000_000, 'Guilds of the bot.'),
  integer('membersMax', 'members-max', 2500, 1, 10_000_000, 'Members of the largest guild.'),
  integer(
    'membersMedian',
    'members-median',
    40,
    1,
    1_000_000,
    'Half of the guilds have fewer members.',
  ),
  integer(
    'largeGuildMembers',
    'large-guild',
    LARGE_GUILD_MEMBERS,
    1,
    10_000_000,
    'Above this many members GUILD_CREATE lists only the bot and who is in voice.',
  ),
  flag('nastyText', 'nasty', 'NUL and other hard text in names and messages.'),
  integer('rate', 'rate', 0, 0, 1_000_000, 'Changes of the world per second; 0 = it stands still.'),
  integer('seed', 'seed', 1, 0, 0xffff_ffff, 'Seed of the world: the same seed, the same world.'),
  integer(
    'maxConcurrency',
    'max-concurrency',
    1,
    1,
    100_000,
    'Identify buckets: shard_id % max_concurrency.',
  ),
  integer('identifyLimit', 'identify-limit', 1000, 0, 1_000_000, 'Identifies that are left today.'),
  duration('identifyWindowMs', 'identify-window', 5000, 'One identify per bucket in this time.'),
  choice(
    'budgetAnswer',
    'budget-answer',
    'invalid-session',
    ['invalid-session', 'reset-token'],
    'What an identify beyond the limit gets: op 9 false, or the end of all sessions and 4004 for the token.',
  ),
  {
    name: 'intents',
    flag: 'intents',
    kind: 'intents',
    initial: ALL_INTENTS,
    max: ALL_INTENTS,
    sentence:
      'Intents that are enabled for the bot, all, a number or names; a privileged one that is not is answered with 4014.',
  },
  integer(
    'guildsPerShardMax',
    'guilds-per-shard',
    2500,
    1,
    1_000_000,
    'More guilds on a shard are answered with 4011.',
  ),
  integer(
    'shardMultiple',
    'shard-multiple',
    1,
    1,
    100_000,
    'A shard count that is no multiple of this is answered with 4010, as for very large bots.',
  ),
  duration(
    'helloMs',
    'hello',
    5,
    'Time from the upgrade to HELLO. 0 puts both into one segment, which a network never does and cloudstorm cannot read.',
  ),
  duration('heartbeatIntervalMs', 'heartbeat-interval', 41_250, 'heartbeat_interval of HELLO.'),
  duration(
    'heartbeatTimeoutMs',
    'heartbeat-timeout',
    0,
    'A connection without heartbeat for this long is closed with 4009; 0 = two intervals, and at least 20 s.',
  ),
  integer(
    'sendsMax',
    'sends',
    120,
    1,
    1_000_000,
    'Payloads a connection may send in 60 s before it is closed with 4008.',
  ),
  duration('sessionTtlMs', 'session-ttl', 90_000, 'How long a session lives without a connection.'),
  integer(
    'replayEvents',
    'replay-events',
    0,
    0,
    1_000_000,
    'Events kept for a RESUME; 0 = max(100, min(3500, guilds × 75)).',
  ),
  flag('replayTrim', 'replay-trim', "Forget what a heartbeat's d confirms."),
  choice(
    'expiredAnswer',
    'expired-answer',
    'close',
    ['close', 'invalid-session'],
    'What a RESUME of an expired session gets: close code 4009, or op 9 false.',
  ),
  duration('stallMs', 'stall', 20_000, 'A reader that takes nothing for this long is dropped.'),
  integer(
    'stubs',
    'stubs',
    0,
    0,
    1_000_000,
    'Guilds of each shard that first come as {id, unavailable: true}.',
  ),
  duration('stubMs', 'stub-time', 500, 'When the guilds that came as stubs become available.'),
  duration(
    'membersIntervalMs',
    'members-interval',
    30_000,
    'Time between two requests for all members of a guild.',
  ),
  choices(
    'compressions',
    'compressions',
    [...COMPRESSIONS],
    COMPRESSIONS,
    'Compressions that are offered; another is closed with 4002.',
  ),
  integer(
    'compressionLevel',
    'compression-level',
    1,
    0,
    19,
    'zlib 1 to 9, zstd 1 to 19; 0 = stored blocks.',
  ),
  text(
    'resumeUrl',
    'resume-url',
    '',
    "resume_gateway_url of READY; the gateway's own URL when empty.",
  ),
  choice('atoms', 'atoms', 100, [100, 115, 119], 'Tag of atoms in ETF.'),
  choice('keys', 'keys', 'atom', ['atom', 'binary'], 'Map keys in ETF.'),
  choice('order', 'order', 'd,op,s,t', KEY_ORDERS, "Order of the envelope's keys in ETF."),
  choice(
    'snowflakes',
    'snowflakes',
    'big',
    ['big', 'string'],
    'Snowflakes in ETF: SMALL_BIG_EXT, or strings.',
  ),
  choices(
    'liberties',
    'liberties',
    [],
    Object.keys(LIBERTIES),
    'Deviations from Discord, comma-separated; -help lists them.',
  ),
  {
    name: 'faults',
    flag: 'fault',
    kind: 'list',
    initial: [],
    sentence:
      'A fault with a time, repeatable: kind[,after=5s][,every=30s][,shard=1][,field=value].',
  },
  integer(
    'ledgerEvents',
    'ledger-events',
    500_000,
    0,
    100_000_000,
    'Events that the ledger keeps.',
  ),
  integer(
    'ledgerMib',
    'ledger-mib',
    256,
    0,
    65_536,
    'MiB of event bytes that the ledger keeps; older events keep their hash.',
  ),
]

export function defaultOptions(): SimOptions {
  return Object.fromEntries(OPTIONS.map((row) => [row.name, row.initial])) as unknown as SimOptions
}

function integer(
  name: keyof SimOptions,
  flagName: string,
  initial: number,
  min: number,
  max: number,
  sentence: string,
): OptionRow {
  return { name, flag: flagName, kind: 'integer', initial, min, max, sentence }
}

function duration(
  name: keyof SimOptions,
  flagName: string,
  initial: number,
  sentence: string,
): OptionRow {
  return { name, flag: flagName, kind: 'duration', initial, min: 0, sentence }
}

function text(
  name: keyof SimOptions,
  flagName: string,
  initial: string,
  sentence: string,
): OptionRow {
  return { name, flag: flagName, kind: 'text', initial, sentence }
}

function flag(name: keyof SimOptions, flagName: string, sentence: string): OptionRow {
  return { name, flag: flagName, kind: 'switch', initial: false, sentence }
}

function choice<Name extends keyof SimOptions>(
  name: Name,
  flagName: string,
  initial: SimOptions[Name],
  among: readonly (string | number)[],
  sentence: string,
): OptionRow {
  return { name, flag: flagName, kind: 'choice', initial, choices: among, sentence }
}

function choices<Name extends keyof SimOptions>(
  name: Name,
  flagName: string,
  initial: SimOptions[Name],
  among: readonly string[],
  sentence: string,
): OptionRow {
  return { name, flag: flagName, kind: 'list', initial, choices: among, sentence }
}
