import { Secret } from '../base/index.ts'
import type { DestinationConfig } from './destination-config.ts'
import { readDestinationsFile, STDOUT_PAYLOAD } from './destinations-file.ts'
import { ConfigError } from './errors.ts'
import { readMultiRedis } from './multi-redis.ts'
import { type Env, isOn, type Values } from './parse.ts'

/**
 * Where events go: by -destinations, -stdout, MULTI_REDIS or -redis; without a Redis they leave by gRPC Subscribe.
 *
 * @throws ConfigError
 */
export function readDestinations(
  values: Values,
  given: ReadonlySet<string>,
  env: Env,
): DestinationConfig[] {
  const text = (flag: string): string => values.get(flag) ?? ''
  const isStdout = given.has('stdout') && isOn(values.get('stdout'))
  const multiRedis = env.MULTI_REDIS ?? ''
  const ways = [
    ...(given.has('destinations') ? ['-destinations'] : []),
    ...(isStdout ? ['-stdout'] : []),
    ...(given.has('redis') ? ['-redis'] : []),
    ...(multiRedis === '' ? [] : ['MULTI_REDIS']),
  ]
  const [way, other] = ways
  if (other !== undefined && way !== '-redis') {
    throw new ConfigError(
      'CONFIG_DESTINATIONS_TWICE',
      `${way} and ${other} both say where events go. Leave one of them away.`,
    )
  }
  const defaults = {
    prefix: text('redis-prefix'),
    payload: text('payload') as DestinationConfig['payload'],
    encoding: text('encoding') as DestinationConfig['encoding'],
    events: readWhitelist(env.WHITELIST_EVENTS),
    queueEventsMax: Number(text('queue-events-max')),
    queueBytesMax: Number(text('queue-bytes-max')),
    queueAgeMaxSeconds: Number(text('queue-age-max')),
    whenFull: text('when-full') as DestinationConfig['whenFull'],
    spillBytesMax: Number(text('spill-bytes-max')),
    listEntriesMax: Number(text('queue-max')),
    listBytesMax: Number(text('queue-max-bytes')),
    hasMarks: isOn(values.get('redis-marks')),
  }
  const destinations = (): DestinationConfig[] => {
    if (way === '-destinations') return readDestinationsFile(text('destinations'), defaults)
    if (multiRedis !== '') return readMultiRedis(multiRedis, defaults)
    const only = {
      ...defaults,
      address: null,
      rules: null,
      stream: null,
      grpcPush: null,
      isRequired: true,
    }
    if (isStdout) {
      const payload = given.has('payload') ? defaults.payload : STDOUT_PAYLOAD
      return [{ ...only, name: 'stdout', kind: 'stdout', payload }]
    }
    const redis =
      text('redis') === '' && values.get('psql') !== undefined ? 'localhost:6379' : text('redis')
    if (redis === '' || redis === 'none') return [{ ...only, name: 'grpc', kind: 'grpc-subscribe' }]
    return [{ ...only, name: 'redis', kind: 'redis-list', address: new Secret(redis) }]
  }
  const found = destinations()
  if (Number(text('workers')) > 1 && found.some(({ kind }) => kind === 'stdout')) {
    throw new ConfigError(
      'CONFIG_STDOUT_WORKERS',
      `-workers ${text('workers')}: events go to stdout from one process only. Leave one of the two away.`,
    )
  }
  return found
}

/** Names are kept as they are given: Discord adds events at any time. The destination warns of strange ones. */
function readWhitelist(value: string | undefined): ReadonlySet<string> | null {
  const names = (value ?? '')
    .split(',')
    .map((name) => name.trim().toUpperCase())
    .filter((name) => name !== '')
  return names.length === 0 ? null : new Set(names)
}
