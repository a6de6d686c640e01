/** The subscribe destination with streams that go nowhere: what fan-out costs outside of sockets. */
import { type PushEvent, SubscribeDestination } from '../../src/push/index.ts'
import { type Contender, destinationOptions, ours } from './contenders.ts'

/** As a stream does, the callback of a write comes later. */
class Sink {
  #waiting: (() => void)[] = []

  readonly write = (_: Buffer, onWritten: () => void): boolean => {
    if (this.#waiting.length === 0) setImmediate(this.#flush)
    this.#waiting.push(onWritten)
    return true
  }

  readonly #flush = (): void => {
    for (const onWritten of this.#waiting.splice(0)) onWritten()
  }

  end(): void {
    // Nobody listens.
  }
}

export function fanOutContender(streams: number, events: readonly PushEvent[]): Contender {
  const destination = new SubscribeDestination(destinationOptions('subscribe'))
  for (let index = 0; index < streams; index++) {
    const subscription = {
      name: '',
      filter: { name: '' },
      encoding: 'json' as const,
      durable: null,
      unknownEvents: [],
    }
    destination.subscribe(subscription, new Sink())
  }
  return ours(`subscribe, ${streams} without sockets`, destination, events)
}
