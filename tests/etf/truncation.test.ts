import { describe, expect, test } from 'vitest'
import {
  ByteBuffer,
  decodeTerm,
  Envelope,
  EtfError,
  FieldReader,
  NEED_MORE,
  scanEnvelope,
  skipTerm,
  termToJson,
} from '../../src/etf/index.ts'
import { accepted } from './support/vectors.ts'

const PREFIXED_BYTES_MAX = 4096
const fixtures = accepted.filter(({ bytes }) => bytes.length <= PREFIXED_BYTES_MAX)

describe('every prefix of every fixture up to 4 KiB', () => {
  test('is NEED_MORE for skipTerm', () => {
    for (const { name, bytes } of fixtures) {
      for (let end = 1; end < bytes.length; end++) {
        if (skipTerm(bytes, 1, end) !== NEED_MORE) expect.fail(`${name} cut at ${end}`)
      }
    }
  })

  test('is NEED_MORE when the bytes behind it are not there at all', () => {
    for (const { name, bytes } of fixtures) {
      if (bytes.length > 512) continue
      for (let end = 1; end < bytes.length; end++) {
        const cut = Uint8Array.from(bytes.subarray(0, end))
        if (skipTerm(cut, 1, end) !== NEED_MORE) expect.fail(`${name} cut at ${end}`)
      }
    }
  })

  test('is ETF_TRUNCATED for decodeTerm and termToJson', () => {
    const out = new ByteBuffer()
    for (const { name, bytes } of fixtures) {
      for (let end = 1; end < bytes.length; end++) {
        const where = `${name} cut at ${end}`
        expectTruncated(() => decodeTerm(bytes.subarray(0, end)), where)
        expectTruncated(() => termToJson(bytes, 1, end, out), where)
        if (out.length !== 0) expect.fail(`${where}: half a text was left`)
      }
    }
  })

  test('is NEED_MORE for FieldReader', () => {
    const reader = new FieldReader(['id', 'd.id', 'd.user', 'd.user.id', 'd.guilds'])
    for (const { name, bytes } of fixtures) {
      for (let end = 1; end < bytes.length; end++) {
        if (reader.read(bytes, 1, end) !== NEED_MORE) expect.fail(`${name} cut at ${end}`)
      }
      expect(reader.read(bytes, 1, bytes.length), name).toBe(bytes.length)
    }
  })

  test('is NEED_MORE for scanEnvelope', () => {
    const envelope = new Envelope()
    const frames = fixtures.filter(({ category }) => category.startsWith('discord_shaped'))
    expect(frames.length).toBe(25)
    for (const { name, bytes } of frames) {
      expect(scanEnvelope(bytes, 0, bytes.length, envelope), name).toBe(bytes.length)
      for (let end = 0; end < bytes.length; end++) {
        if (scanEnvelope(bytes, 0, end, envelope) !== NEED_MORE) {
          expect.fail(`${name} cut at ${end} of ${bytes.length}`)
        }
      }
    }
  })
})

function expectTruncated(read: () => unknown, where: string): void {
  try {
    read()
  } catch (error) {
    if (error instanceof EtfError && error.code === 'ETF_TRUNCATED') return
    expect.fail(`${where}: ${String(error)}`)
  }
  expect.fail(`${where}: was read`)
}
