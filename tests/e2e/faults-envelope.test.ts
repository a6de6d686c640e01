import { faultsSuite } from './faults-suite.ts'

faultsSuite('envelope')
