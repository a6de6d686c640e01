import { messageOf, Secret } from '../base/index.ts'
import {
  type DestinationConfig,
  type DestinationDefaults,
  redisPlace,
  refuseDuplicates,
} from './destination-config.ts'
import { ConfigError } from './errors.ts'

/**
 * Reads MULTI_REDIS as the ancestor does: a JSON object of address → event names; an empty array means
 * the global whitelist. No address is required: a dead one is tried again for ever beside the others.
 *
 * @throws ConfigError CONFIG_MULTI_REDIS, which never repeats an address; CONFIG_DUPLICATE_DESTINATION
 */
export function readMultiRedis(text: string, defaults: DestinationDefaults): DestinationConfig[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    // The parser's message quotes the text, which may hold a password.
    const at = /at position \d+/.exec(messageOf(error))?.[0] ?? ''
    throw bad(`it is not JSON ${at}`.trimEnd())
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw bad('it is not an object')
  }
  const entries = Object.entries(value)
  if (entries.length === 0) throw bad('it names no address')
  const destinations = entries.map(([address, events], index): DestinationConfig => {
    const place = redisPlace(address)
    if (place === null) throw bad(`address ${index + 1} cannot be read`)
    if (!Array.isArray(events) || events.some((event) => typeof event !== 'string')) {
      throw bad(`${place} needs an array of event names`)
    }
    const names = (events as string[])
      .map((event) => event.trim().toUpperCase())
      .filter((event) => event !== '')
    return {
      ...defaults,
      name: place,
      kind: 'redis-list',
      address: new Secret(address),
      rules: null,
      stream: null,
      grpcPush: null,
      events: names.length === 0 ? defaults.events : new Set(names),
      isRequired: false,
    }
  })
  refuseDuplicates(destinations, (index) => `MULTI_REDIS, address ${index + 1}`)
  return destinations
}

function bad(reason: string): ConfigError {
  return new ConfigError(
    'CONFIG_MULTI_REDIS',
    `MULTI_REDIS: ${reason}. Write {"host:port": ["EVENT", …], …}; an empty array takes WHITELIST_EVENTS.`,
  )
}
