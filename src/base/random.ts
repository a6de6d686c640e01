/** A source of numbers in [0, 1), handed in like the Clock so that a seed replays a run exactly. */
export type Random = () => number

export const systemRandom: Random = Math.random

/** Small fast seeded generator (mulberry32, public domain by Tommy Ettinger). Not for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
