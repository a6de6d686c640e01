/** Every option of `gateway`; -help, docs/config.md and the parser come from this table. */
import type { Option } from './option.ts'

export const GATEWAY_OPTIONS: readonly Option[] = [
  {
    flag: 'token',
    env: ['DISCORD_TOKEN'],
    kind: 'secret',
    default: '',
    sentence:
      "The bot's token, with or without the prefix `Bot `. Others on the host can read a command line: prefer -token-file or the environment.",
  },
  {
    flag: 'token-file',
    kind: 'text',
    default: '',
    sentence: 'A file that holds the token.',
  },
  {
    flag: 'psql',
    aliases: ['psqlAddr'],
    kind: 'secret',
    default: '',
    sentence:
      'URL of the Postgres that keeps guild state and sessions. Without it the embedded store in -data is used.',
  },
  {
    flag: 'cache',
    kind: 'text',
    default: 'default',
    sentence:
      'Which guild state is kept for State: `default` (every kind), `none`, or names of kinds separated by commas: guilds (kept with any other), channels, threads, roles, emojis, stickers, members, presences, voice_states, bans, scheduled_events, stage_instances, soundboard_sounds. Sessions and the list of guilds are kept either way.',
  },
  {
    flag: 'redis',
    kind: 'secret',
    default: '',
    sentence:
      'Redis that takes the events: host:port, redis://, rediss://, redis+sentinel://host:port,host:port/master, or `none`. Default: localhost:6379 with -psql, none without.',
  },
  {
    flag: 'destinations',
    kind: 'text',
    default: '',
    sentence:
      'A file (YAML or JSON) with any number of destinations instead of -redis; SIGHUP reads it again. See consumers.md.',
  },
  {
    flag: 'stdout',
    kind: 'switch',
    default: '',
    sentence:
      'Writes the events to standard output as lines of JSON instead of pushing them: an envelope each, with -payload d the bare payload. The log is on standard error.',
  },
  {
    flag: 'redis-prefix',
    kind: 'text',
    default: 'gateway:events:',
    sentence: 'What stands before the event name in the key of a Redis list.',
  },
  {
    flag: 'redis-marks',
    kind: 'switch',
    default: '',
    sentence:
      'Marks in Redis, in one transaction with each flush to its lists, how far each shard was pushed: then no event is repeated after a crash or a broken connection. Costs Redis CPU; not for Redis Cluster. See consumers.md.',
  },
  {
    flag: 'etcd',
    kind: 'secret',
    default: 'none',
    sentence:
      'etcd endpoints, comma-separated (host:2379, http:// or https://, with user:password@ where etcd asks for them), by which several workers share the shards; or `none`. Needs -psql.',
  },
  {
    flag: 'etcd-ca',
    kind: 'text',
    default: '',
    sentence:
      "File with the certificates (PEM) that https endpoints of -etcd are checked against. Default: Node's own.",
  },
  {
    flag: 'name',
    kind: 'text',
    default: 'gateway',
    sentence: 'Name of the fleet: part of the session rows and of the Redis client name.',
  },
  {
    flag: 'podId',
    kind: 'text',
    default: '',
    sentence: 'Appended to the Redis client name: `name-podId`.',
  },
  {
    flag: 'shards',
    kind: 'integer',
    min: 1,
    max: 100_000,
    default: '',
    sentence:
      "Total number of shards. Default: the fleet's stored count, else what Discord recommends.",
  },
  {
    flag: 'start',
    kind: 'integer',
    default: '',
    sentence: 'First shard that this process may hold. Default: 0.',
  },
  {
    flag: 'stop',
    kind: 'integer',
    min: 1,
    default: '',
    sentence: 'The shard behind the last one that this process may hold. Default: the total.',
  },
  {
    flag: 'intents',
    kind: 'text',
    default: 'default',
    sentence:
      'What Discord shall send: `default`, `all`, `fast`, intent names separated by commas, or a number.',
  },
  {
    flag: 'addr',
    kind: 'text',
    default: 'localhost:50051',
    sentence: 'Address of the gRPC listener (management, event subscription), or `none`.',
  },
  {
    flag: 'advertise',
    kind: 'text',
    default: '',
    sentence:
      "host:port (port 0: the listener's own) under which the other workers of the fleet and gatewayctl reach -addr. Default: the address itself, the host's name where that is every interface. Only with -etcd.",
  },
  {
    flag: 'admin-token',
    kind: 'secret',
    default: '',
    sentence:
      'gRPC calls that change something (restart, move, drain, identifies, member requests) need Authorization: Bearer and this token, the same for all workers of a fleet. Without it everybody who reaches -addr may.',
  },
  {
    flag: 'workers',
    kind: 'integer',
    min: 1,
    max: 64,
    unit: 'processes',
    default: '1',
    sentence:
      'Worker processes under this one, which listens for them, restarts them, and writes one log. More than 1 needs -etcd and -psql.',
  },
  {
    flag: 'http',
    aliases: ['pprof'],
    kind: 'text',
    default: 'localhost:6060',
    sentence:
      'Address of the HTTP listener: /healthz, /readyz, /metrics, and with the embedded store the State routes; or `none`.',
  },
  {
    flag: 'shard-metrics',
    kind: 'switch',
    default: '',
    sentence:
      'About a dozen series per shard on /metrics. Without it there are sums and extremes over the shards only.',
  },
  {
    flag: 'read-token',
    kind: 'secret',
    default: '',
    sentence:
      'State answers only requests with Authorization: Bearer and this token. Without it everybody who reaches the address may read.',
  },
  {
    flag: 'write-token',
    kind: 'secret',
    default: '',
    sentence:
      'Turns the writing routes of State on, for requests with Authorization: Bearer and this token.',
  },
  {
    flag: 'members',
    kind: 'text',
    default: 'none',
    sentence:
      "Which guilds' whole member lists are fetched for State: `all`, `<=N` (guilds with at most N members), or `none`: then only that of a guild that comes more than 5 minutes after the start of its shard's session. Needs the intent GUILD_MEMBERS.",
  },
  {
    flag: 'commands',
    kind: 'secret',
    default: 'none',
    sentence:
      'Redis from whose list or stream -commands-key commands of backends are taken: host:port, redis:// or rediss://; or `none`. See consumers.md.',
  },
  {
    flag: 'commands-key',
    kind: 'text',
    default: 'gateway:commands',
    sentence: 'Key of the list or stream that commands are taken from. Only with -commands.',
  },
  {
    flag: 'commands-form',
    kind: 'choice',
    choices: ['list', 'stream'],
    default: 'list',
    sentence:
      'What -commands-key is: a list (RPUSH) or a stream (XADD with the field `json`), which the workers read as a consumer group. Only with -commands.',
  },
  {
    flag: 'backend-token',
    kind: 'secret',
    default: '',
    sentence:
      'Commands by gRPC (gateway.v1.Commands) need the metadata `authorization: Bearer` and this token. Without it whoever reaches -addr may send commands, and voice connections are served to nobody.',
  },
  {
    flag: 'check',
    kind: 'switch',
    default: '',
    sentence:
      'Shows whether a start would succeed and keep what it accepts, with the cure for what would not; changes nothing, exits with 0 or 1.',
  },
  {
    flag: 'prod',
    kind: 'switch',
    default: '',
    sentence: 'Logs JSON lines instead of text.',
  },
  {
    flag: 'log-level',
    kind: 'choice',
    choices: ['debug', 'info', 'warn', 'error'],
    default: 'info',
    sentence: 'The least important lines that are logged.',
  },
  {
    flag: 'discord-api',
    kind: 'text',
    default: 'https://discord.com/api',
    sentence: "URL of Discord's REST API without the version; gateway-sim prints its own.",
  },
  {
    flag: 'compress',
    kind: 'choice',
    choices: ['zlib-stream', 'zstd-stream', 'none'],
    default: 'zlib-stream',
    sentence: 'Transport compression of the connections to Discord.',
  },
  {
    flag: 'upstream',
    kind: 'choice',
    choices: ['etf', 'json'],
    default: 'etf',
    sentence:
      'Encoding of the connections to Discord. json is slower: each frame is parsed and written again.',
  },
  {
    flag: 'payload',
    kind: 'choice',
    choices: ['d', 'envelope'],
    default: 'd',
    sentence:
      'What is pushed to Redis: the bare payload as the ancestor does, or a map with t, s, op, d, shard, shard_count, session_id, class and received_at.',
  },
  {
    flag: 'encoding',
    kind: 'choice',
    choices: ['etf', 'json', 'etf-bare'],
    default: 'etf',
    sentence:
      'How it is written to Redis (a gRPC subscriber chooses for itself): an external term with its version byte 131, JSON, or a term without the version byte.',
  },
  {
    flag: 'queue-events-max',
    kind: 'integer',
    min: 1000,
    max: 10_000_000,
    unit: 'events',
    default: '100000',
    sentence: 'Events that wait for a destination before -when-full decides.',
  },
  {
    flag: 'queue-bytes-max',
    kind: 'integer',
    min: 1_048_576,
    unit: 'bytes',
    default: '67108864',
    sentence: 'Bytes that wait for a destination before -when-full decides.',
  },
  {
    flag: 'queue-age-max',
    kind: 'integer',
    max: 31_536_000,
    unit: 'seconds',
    default: '86400',
    sentence: 'An event that has waited for longer is dropped and counted; 0: however long.',
  },
  {
    flag: 'when-full',
    kind: 'choice',
    choices: ['spill', 'drop-oldest', 'drop-new', 'block'],
    default: 'spill',
    sentence:
      'What happens to an event when the queue is full: it goes to the disk, the oldest that waits makes room, it is dropped itself, or the shards are parked.',
  },
  {
    flag: 'spill-bytes-max',
    kind: 'integer',
    min: 1_048_576,
    unit: 'bytes',
    default: '1073741824',
    sentence:
      'Bytes of events that a destination may keep in -data with -when-full spill; beyond it the oldest are dropped.',
  },
  {
    flag: 'queue-max',
    kind: 'integer',
    unit: 'entries',
    default: '1000000',
    sentence:
      'Entries of one Redis list from which on it gets no more events, until its consumers have brought it below half; 0: no limit, as in the ancestor.',
  },
  {
    flag: 'queue-max-bytes',
    kind: 'integer',
    min: 1_048_576,
    unit: 'bytes',
    default: '1073741824',
    sentence: 'The same in bytes, reckoned by the mean of what was pushed. Only with -queue-max.',
  },
  {
    flag: 'data',
    kind: 'text',
    default: './gateway-data',
    sentence:
      'Folder of the embedded store (one process at a time) and of what destinations have not taken yet.',
  },
  {
    flag: 'lease-ttl',
    kind: 'integer',
    min: 3,
    max: 300,
    unit: 'seconds',
    default: '10',
    sentence: 'How long a shard stays with a worker that no longer answers. Only with -etcd.',
  },
  {
    flag: 'max-shards',
    kind: 'integer',
    min: 1,
    unit: 'shards',
    default: '',
    sentence: 'Shards that this worker holds at most. Only with -etcd. Default: any number.',
  },
  {
    flag: 'rebalance-settle',
    kind: 'integer',
    max: 3600,
    unit: 'seconds',
    default: '30',
    sentence:
      'How long the workers must have been the same ones before shards are moved for balance. Shards without an owner do not wait for it. Only with -etcd.',
  },
  {
    flag: 'rebalance-percent',
    kind: 'integer',
    min: 1,
    max: 100,
    unit: 'percent',
    default: '10',
    sentence:
      "Share of the fleet's shards that may be moved for balance in a minute, by all workers together; 100: no limit. Only with -etcd.",
  },
  {
    flag: 'identify-reserve',
    kind: 'integer',
    max: 100,
    unit: 'percent',
    default: '5',
    sentence: "Share of the day's identifies that is kept back; below it no identify is sent.",
  },
  {
    flag: 'identify-breaker',
    kind: 'integer',
    min: 1,
    unit: 'identifies',
    default: '3',
    sentence: 'Identifies of one shard in 10 minutes after which it stops identifying.',
  },
]

/** Environment variables that are options without a flag, as in the ancestor. */
export const GATEWAY_VARIABLES: readonly { readonly name: string; readonly sentence: string }[] = [
  {
    name: 'WHITELIST_EVENTS',
    sentence:
      'Names of the events that are pushed, comma-separated. Unset: all. READY and RESUMED are never pushed, GUILD_MEMBERS_CHUNK only if named here.',
  },
  {
    name: 'MULTI_REDIS',
    sentence:
      'Several Redis servers instead of -redis: a JSON object of address and event names; an empty array takes WHITELIST_EVENTS.',
  },
]
