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
]
