import { expect, test } from 'vitest'
import { Acknowledgements } from '../../src/consumer/grpc/acknowledgements.ts'
import { until } from '../support/until.ts'

test('acknowledges by the last number before the first that is open, in one message per tick', async () => {
  const sent: string[] = []
  const acknowledgements = new Acknowledgements((number) => sent.push(number))
  const [first, second, third] = ['7', '9', '12'].map((number) => acknowledgements.take(number))
  second!()
  await new Promise((resolve) => setImmediate(resolve))
  expect(sent).toEqual([])
  first!()
  await until(() => sent.length === 1)
  expect(sent).toEqual(['9'])
  acknowledgements.take('13')()
  third!()
  acknowledgements.flush()
  expect(sent).toEqual(['9', '13'])
  acknowledgements.take('14')()
  acknowledgements.end()
  await new Promise((resolve) => setImmediate(resolve))
  expect(sent).toEqual(['9', '13'])
})
