/** One turn of one contender: load, cost and count over some seconds, then everything that was sent comes out. */
import { setTimeout as sleep } from 'node:timers/promises'
import { costOf } from './child.ts'
import type { GatewayMetrics } from './gateway-metrics.ts'
import type { ConsumerState, RivalState } from './messages.ts'
import type { Contender, Stage } from './stage.ts'

const WARM_UP_MS = 1000
const DRAIN_MS_MAX = 60_000

export interface Slice {
  readonly events: number
  readonly seconds: number
  readonly userSeconds: number
  readonly systemSeconds: number
  readonly cpuSeconds: number
  readonly microsPerEvent: number
  readonly cores: number
  readonly rssMiB: number
  readonly generatorCores: number
  readonly loopP50Ms: number
  readonly loopP99Ms: number
  readonly loopMaxMs: number
  readonly gcShare: number
  /** Null: the contender pushes nothing. */
  readonly delays: ConsumerState | null
  readonly eventsPerFlush: number
  readonly rowsPerBatch: number
  /** Everything that was sent came out, once and in order. */
  readonly isComplete: boolean
}

export async function runSlice(
  stage: Stage,
  contender: Contender,
  rate: number | null,
  seconds: number,
): Promise<Slice> {
  const { group } = contender
  const children = [contender.child, ...contender.others]
  const isPushing = group !== 'floor'
  if (isPushing) {
    await stage.watch(contender)
    // What takes the lists would share its core with a generator at its limit.
    if (rate === null) await stage.ask({ do: 'pause' })
  }
  const sentBefore = (await stage.tell({ do: 'state', group })).sent
  const doneBefore = await stage.done(contender)
  await stage.tell({ do: 'start', group, rate })
  await sleep(WARM_UP_MS)
  if (isPushing) await stage.ask({ do: 'forget' })
  const figuresA = await figures(stage, contender)
  const generatorA = stage.generator.cost()
  const doneA = await stage.done(contender)
  const a = costOf(children)
  await sleep(seconds * 1000)
  const b = costOf(children)
  const doneB = await stage.done(contender)
  const generatorB = stage.generator.cost()
  const figuresB = await figures(stage, contender)
  const sent = (await stage.tell({ do: 'stop', group })).sent - sentBefore
  const state = isPushing ? await stage.ask({ do: 'resume' }) : null
  const isComplete = await drained(stage, contender, doneBefore, sent)
  const events = doneB - doneA
  const userSeconds = b.userSeconds - a.userSeconds
  const systemSeconds = b.systemSeconds - a.systemSeconds
  const cpuSeconds = userSeconds + systemSeconds
  const lasted = (b.atMs - a.atMs) / 1000
  const generated =
    generatorB.userSeconds +
    generatorB.systemSeconds -
    generatorA.userSeconds -
    generatorA.systemSeconds
  const gatewayA = figuresA as GatewayMetrics
  const gatewayB = figuresB as GatewayMetrics
  const isGateway = group === 'gateway'
  return {
    events,
    seconds: lasted,
    userSeconds,
    systemSeconds,
    cpuSeconds,
    microsPerEvent: (cpuSeconds / events) * 1e6,
    cores: cpuSeconds / lasted,
    rssMiB: b.rssBytes / 2 ** 20,
    generatorCores: (generated / (generatorB.atMs - generatorA.atMs)) * 1000,
    loopP50Ms: figuresB.loopP50Ms,
    loopP99Ms: figuresB.loopP99Ms,
    loopMaxMs: figuresB.loopMaxMs,
    gcShare: (figuresB.gcMs - figuresA.gcMs) / (lasted * 1000),
    delays: state,
    eventsPerFlush: isGateway
      ? (gatewayB.delivered - gatewayA.delivered) / (gatewayB.flushes - gatewayA.flushes)
      : 0,
    rowsPerBatch: isGateway
      ? (gatewayB.cacheRows - gatewayA.cacheRows) /
        Math.max(1, gatewayB.cacheBatches - gatewayA.cacheBatches)
      : 0,
    isComplete,
  }
}

/** Waits for what is on its way. @returns whether all of it came, in order */
export async function drained(
  stage: Stage,
  contender: Contender,
  doneBefore: number,
  sent: number,
): Promise<boolean> {
  const isPushing = contender.group !== 'floor'
  const deadline = performance.now() + DRAIN_MS_MAX
  let done = 0
  while (performance.now() < deadline) {
    done = (await stage.done(contender)) - doneBefore
    if (done >= sent) break
    await sleep(100)
  }
  if (!isPushing) return done === sent
  // The lists are taken to the end, so that order is seen too.
  let before = -1
  for (;;) {
    const { events, faults } = await stage.ask({ do: 'state' })
    const left = await stage.ask({ do: 'state' })
    if (left.events === events && events === before) {
      if (done !== sent || faults > 0) {
        console.error(`${contender.group}: sent ${sent}, came ${done}, ${faults} faults of order`)
      }
      return done === sent && faults === 0
    }
    before = events
    await sleep(300)
  }
}

function figures(stage: Stage, { group, child }: Contender): Promise<GatewayMetrics | RivalState> {
  return group === 'gateway' ? stage.metrics() : child.ask<RivalState>({})
}
