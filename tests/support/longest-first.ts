import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Suites whose tests wait for a program that runs for a while: begun last, they would end the run alone. */
const LONG_SUITES = ['e2e', 'chaos', 'operate']

/** Starts the long suites first, and the rest as vitest would. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isLong = ({ moduleId }: TestSpecification): boolean =>
      LONG_SUITES.some((suite) => moduleId.includes(`/tests/${suite}/`))
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}
