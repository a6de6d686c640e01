/** Every option of `gatewayctl`. */
import type { Option } from './option.ts'

export const GATEWAYCTL_OPTIONS: readonly Option[] = [
  {
    flag: 'addr',
    kind: 'text',
    default: 'localhost:50051',
    sentence:
      'gRPC address of any worker of the fleet; of several, comma-separated, the first that answers.',
  },
  {
    flag: 'admin-token',
    kind: 'secret',
    default: '',
    sentence:
      'The -admin-token of the workers, for commands that change something. Others on the host can read a command line: prefer the environment.',
  },
  {
    flag: 'json',
    kind: 'switch',
    default: '',
    sentence: 'Prints one JSON object instead of text.',
  },
  {
    flag: 'timeout',
    kind: 'integer',
    max: 3600,
    unit: 'seconds',
    default: '30',
    sentence: 'How long move and drain wait until they are carried out; 0: not at all.',
  },
  {
    flag: 'allow',
    kind: 'integer',
    max: 1000,
    unit: 'identifies',
    default: '',
    sentence:
      'Of identifies: lets so many pass reserve and breaker, whichever shard asks first; 0 takes that back.',
  },
  {
    flag: 'events',
    kind: 'text',
    default: '',
    sentence:
      'Of tail: names of the events to show, comma-separated. Default: all but GUILD_MEMBERS_CHUNK.',
  },
  {
    flag: 'shard',
    kind: 'text',
    default: '',
    sentence: 'Of tail: the shard to show, or several, comma-separated.',
  },
  {
    flag: 'guilds',
    kind: 'text',
    default: '',
    sentence: 'Of tail: guilds to show, comma-separated; events that belong to none are left out.',
  },
  {
    flag: 'count',
    kind: 'integer',
    min: 1,
    max: 1_000_000_000,
    unit: 'events',
    default: '',
    sentence: 'Of tail: ends after so many.',
  },
]
