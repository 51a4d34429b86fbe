import { Type, type Static } from 'typebox';

/**
 * The report that `check` prints with `--format json` and that the report page shows.
 * The TypeScript type and the published JSON Schema (schema/report.schema.json, `npm run generate`) both come from this file.
 * A number that does not exist, because a bound is infinite or a search found nothing, is null.
 */

const Cell = Type.Union([Type.Literal('rnn'), Type.Literal('lstm'), Type.Literal('gru')]);
const Direction = Type.Union([Type.Literal('forward'), Type.Literal('reverse'), Type.Literal('bidirectional')]);
const NullableNumber = Type.Union([Type.Number(), Type.Null()]);
const Source = Type.Union([Type.Literal('samples'), Type.Literal('synthetic')]);

const PlaceSchema = Type.Object(
  { startLine: Type.Integer(), startColumn: Type.Integer(), endLine: Type.Integer(), endColumn: Type.Integer() },
  { description: 'Range in a text checkpoint (model.json): from 1, in UTF-16 units, the end after the last character' },
);

const CertificateSchema = Type.Object({
  name: Type.String({
    description: 'miller-hardt, delta-iss, comparison-operator, scaled-spectral-norm, numerical-radius, block-quadratic',
  }),
  norm: Type.String({ description: 'The norm in which one step contracts by lambda' }),
  lambda: Type.Union([Type.Number(), Type.Null()], {
    description: 'A proven contraction constant where the certificate holds; else what its condition comes to',
  }),
  holds: Type.Boolean({ description: 'True when the conditions are proven to hold' }),
  length: Type.Union([Type.Integer(), Type.Null()], {
    description: 'Smallest k that it alone certifies for the error of the layer at equal inputs; null where none was found',
  }),
  note: Type.Optional(Type.String({ description: 'Why it was not proven, where it might have been' })),
  conditions: Type.Optional(
    Type.Array(
      Type.Object({
        text: Type.String({ description: 'The inequality, as the source states it' }),
        value: Type.Number(),
        limit: Type.Number(),
        holds: Type.Boolean(),
      }),
    ),
  ),
});

const LayerSchema = Type.Object({
  name: Type.String(),
  cell: Cell,
  direction: Direction,
  inputSize: Type.Integer(),
  hiddenSize: Type.Integer(),
  lambda: NullableNumber,
  lambdaLowerBound: NullableNumber,
  certificates: Type.Array(CertificateSchema),
  certifiedBy: Type.Union([Type.String(), Type.Null()], { description: 'The certificate with the smallest certified length' }),
  place: Type.Optional(PlaceSchema),
});

const DataSchema = Type.Object(
  {
    source: Source,
    lyapunovExponent: NullableNumber,
    lyapunovError: NullableNumber,
    lambda: Type.Number({
      description: 'exp of the exponent: the factor by which a small difference shrinks in a step, on average',
    }),
    effectiveMemory: Type.Union([Type.Number(), Type.Null()], {
      description: '1/(1 − lambda) steps; null where lambda is not below 1',
    }),
    worstFound: Type.Optional(
      Type.Object(
        {
          k: Type.Integer({ description: 'The truncation length that was attacked' }),
          error: Type.Number({ description: 'Largest error of the recurrent output found at k; never below that of the data' }),
          dataError: Type.Number({ description: 'Worst error of the data at k' }),
          startedFrom: Type.Integer({ description: 'Number of windows from which the search climbed' }),
        },
        { description: 'Search for a worse window than the data shows, within the input range. No bound: a worse one may exist' },
      ),
    ),
    layers: Type.Array(
      Type.Object({
        name: Type.String(),
        lyapunovExponent: NullableNumber,
        lyapunovError: NullableNumber,
        jacobianNorm: Type.Union([
          Type.Object({ median: Type.Number(), quantile: Type.Number(), largest: Type.Number(), steps: Type.Integer() }),
          Type.Null(),
        ]),
        unitMemory: Type.Array(Type.Union([Type.Integer(), Type.Null()]), {
          description:
            'For every unit of the output, the steps of context from which on truncation moves it by no more than epsilon; null: more than was measured',
        }),
      }),
    ),
  },
  { description: 'What was measured along the sequences, to first order and unit by unit. No bound of anything' },
);

const InputPatternSchema = Type.Object(
  {
    steps: Type.Integer(),
    pattern: Type.Record(Type.String(), Type.Array(Type.Array(Type.Number()))),
  },
  { description: 'By input name the values of a few steps, repeated for as many steps; one list of features a step' },
);

const OrbitSchema = Type.Object({
  period: Type.Integer(),
  multiplier: Type.Number({ description: 'Spectral radius of the product of Jacobians along the orbit; below 1 it attracts' }),
  error: Type.Number({ description: 'How far the multiplier may be from the true one' }),
});

const DistancesSchema = Type.Object(
  { step: Type.Array(Type.Integer()), distance: Type.Array(Type.Number()) },
  { description: 'Largest distance of the outputs since the listed step before, over the steps of the common input' },
);

const WitnessSchema = Type.Object(
  {
    kind: Type.Union([Type.Literal('two-orbits'), Type.Literal('two-phases'), Type.Literal('unsettled')], {
      description:
        'The histories end on different periodic orbits, on one orbit at different phases, or no orbit was found for one of them',
    }),
    of: Type.Union([Type.Literal('model'), Type.Literal('layer')], {
      description:
        'model: the inputs are those of the model. layer: those of one layer by itself, within the range of its input; the model may never feed it so',
    }),
    layers: Type.Array(Type.String(), { description: 'Layers whose outputs stay apart' }),
    reverse: Type.Boolean({
      description: 'True where the layers read the sequence from its end: the history is what comes last',
    }),
    // JSON Schema's tuples changed from draft to draft; an array of fixed length has not.
    prefixes: Type.Unsafe<[Static<typeof InputPatternSchema>, Static<typeof InputPatternSchema>]>(
      Type.Array(InputPatternSchema, { minItems: 2, maxItems: 2, description: 'The two histories, from the initial state' }),
    ),
    common: InputPatternSchema,
    distance: Type.Number({ description: 'max |Δh| of the outputs at the end, in float64' }),
    threshold: Type.Number({ description: 'Outputs closer than this would count as merged' }),
    distances: DistancesSchema,
    persistent: Type.Boolean({ description: 'Both histories have arrived on attracting orbits, so they stay apart for ever' }),
    orbits: Type.Array(Type.Union([OrbitSchema, Type.Null()]), {
      description: 'That of each history; null where none was found',
    }),
    separator: Type.Union([OrbitSchema, Type.Null()], { description: 'A repelling orbit between the two' }),
    replay: Type.Union(
      [
        Type.Object({
          steps: Type.Integer(),
          distance: Type.Number({ description: 'max |Δh| at the end' }),
          staysApart: Type.Boolean(),
          distances: DistancesSchema,
        }),
        Type.Null(),
      ],
      { description: "The same inputs fed to the checkpoint itself in ONNX Runtime, in the model's own type" },
    ),
  },
  { description: 'Two histories that one input does not make forget. Only where no certificate holds' },
);

const DiagnosticSchema = Type.Object({
  code: Type.String({ description: 'Stable code, explained in docs/diagnostics.md' }),
  severity: Type.Union([Type.Literal('error'), Type.Literal('warning'), Type.Literal('information'), Type.Literal('hint')]),
  message: Type.String(),
  layer: Type.Optional(Type.String()),
  place: Type.Optional(PlaceSchema),
  question: Type.Optional(
    Type.Object(
      {
        about: Type.Union([Type.Literal('set'), Type.Literal('states')]),
        answers: Type.Array(Type.String({ description: 'As --set or --state take it' })),
      },
      { description: 'What was assumed where only the user knows, with what else it could be' },
    ),
  ),
});

const StreamingSchema = Type.Object(
  {
    frames: Type.Array(Type.Object({ name: Type.String(), shape: Type.Array(Type.Integer()) }), {
      description: 'Inputs that change from call to call, with the shape of one frame',
    }),
    states: Type.Array(
      Type.Object({
        input: Type.String(),
        output: Type.String({ description: 'The output that the caller feeds back to the input' }),
        shape: Type.Array(Type.Integer()),
        kind: Type.Union(
          [
            Type.Literal('hidden'),
            Type.Literal('cell'),
            Type.Literal('packed'),
            Type.Literal('cache'),
            Type.Literal('mixed'),
            Type.Literal('general'),
          ],
          { description: 'h, c, both in one tensor, past inputs, past inputs beside h or c, or a state of no known form' },
        ),
        of: Type.Array(Type.String(), { description: 'The recurrent nodes that it is the state of' }),
      }),
    ),
    errorOf: Type.Union([Type.Literal('recurrent'), Type.Literal('outputs')], {
      description: 'What the curves are the error of: h of the recurrent layers, or the outputs of the model',
    }),
    outputMeasured: Type.Union([Type.Array(Type.Number()), Type.Null()], {
      description: "Worst measured error of the model's outputs at the first lengths of the curve",
    }),
    certificate: Type.Union([CertificateSchema, Type.Null()], {
      description:
        'Of the state map as a whole, where its layers do not account for all of the state and its operators are understood',
    }),
    notCertified: Type.Union([Type.String(), Type.Null()], { description: 'Why no certificate covers the carried state' }),
    jacobian: Type.Union(
      [
        Type.Object({
          oneStep: Type.Number({ description: 'Largest norm of the state map’s Jacobian in one frame' }),
          product: Type.Number({ description: 'Norm of the product of the Jacobians of `frames` consecutive frames' }),
          frames: Type.Integer(),
        }),
        Type.Null(),
      ],
      { description: 'Measured by differences through the model; null where the state is too large for it' },
    ),
    cost: Type.Union([
      Type.Object({
        k: Type.Integer(),
        nodes: Type.Integer(),
        bytes: Type.Integer(),
        originalMilliseconds: Type.Number({ description: 'Median time of one frame of the original' }),
        statelessMilliseconds: Type.Number({ description: 'Median time of one answer of the stateless model' }),
        stateBytes: Type.Integer({ description: 'State that need not be kept for every stream any more' }),
      }),
      Type.Null(),
    ]),
  },
  { description: 'Only for models that compute one frame per call while the caller carries the state' },
);
const curveFields = {
  k: Type.Array(Type.Integer()),
  bound: Type.Union([Type.Array(Type.Number()), Type.Null()]),
  measured: Type.Union([Type.Array(Type.Number()), Type.Null()], {
    description: 'Worst measured error at the first lengths of k; shorter than k where the sequences are',
  }),
  band: Type.Optional(
    Type.Object(
      {
        share: Type.Number({ description: 'The quantile that was asked for' }),
        median: Type.Array(Type.Number()),
        quantile: Type.Array(Type.Number()),
      },
      {
        description:
          'Errors that half, and that the share, of the sequences stay at or below, each with the worst of its windows',
      },
    ),
  ),
  worstAt: Type.Optional(
    Type.Object(
      { sequence: Type.Array(Type.Integer()), position: Type.Array(Type.Integer()) },
      { description: 'Where each measured value was seen: sequence and position in it, counted from 0' },
    ),
  ),
  measuredOn: Type.Union([
    Type.Object({
      source: Source,
      sequences: Type.Integer(),
      windows: Type.Integer({ description: 'Windows compared, of all lengths together' }),
    }),
    Type.Null(),
  ]),
};

const NumberOrList = Type.Union([Type.Number(), Type.Array(Type.Number())]);

export const ReportSchema = Type.Object(
  {
    schemaVersion: Type.Literal(1),
    file: Type.String(),
    format: Type.Union([Type.Literal('onnx'), Type.Literal('tfjs')]),
    model: Type.Object({
      producer: Type.String(),
      opset: Type.Integer({ description: 'Of a TF.js model: of the ONNX model that it is converted to' }),
      bytes: Type.Integer({ description: 'Size of the checkpoint; of a TF.js model with its weight files' }),
      parameters: Type.Integer({ description: 'Numbers stored in the recurrent layers' }),
    }),
    verdict: Type.Union([
      Type.Literal('stable'),
      Type.Literal('stable-on-data'),
      Type.Literal('unstable'),
      Type.Literal('inconclusive'),
    ]),
    summary: Type.String({ description: 'The verdict in one or two sentences, with what to do next' }),
    epsilon: Type.Number({
      exclusiveMinimum: 0,
      description: 'Allowed error, max absolute, of the recurrent output or where `at` says',
    }),
    inputRange: Type.Object({
      lower: NumberOrList,
      upper: NumberOrList,
      source: Type.Union([Type.Literal('derived'), Type.Literal('user'), Type.Literal('samples'), Type.Literal('default')]),
    }),
    safeLength: Type.Union([
      Type.Object({
        k: Type.Integer({ minimum: 0 }),
        basis: Type.Union([Type.Literal('certified'), Type.Literal('samples')]),
        confidence: Type.Optional(Type.Number()),
        quantile: Type.Optional(Type.Number()),
        windows: Type.Optional(Type.Integer({ description: 'Windows of k steps that were compared' })),
        sequences: Type.Optional(Type.Integer()),
      }),
      Type.Null(),
    ]),
    lambda: NullableNumber,
    lambdaLowerBound: NullableNumber,
    at: Type.Optional(
      Type.Literal('output', {
        description: "epsilon, bounds and errors are at the model's own outputs; else at the recurrent one",
      }),
    ),
    curve: Type.Object({
      ...curveFields,
      recurrent: Type.Optional(
        Type.Object(curveFields, { description: "The recurrent output's curve, where epsilon is at the model's outputs" }),
      ),
    }),
    layers: Type.Array(LayerSchema),
    streaming: Type.Optional(StreamingSchema),
    data: Type.Optional(DataSchema),
    witness: Type.Optional(WitnessSchema),
    diagnostics: Type.Array(DiagnosticSchema),
  },
  { $id: 'urn:rnn-stability:report:1', title: 'RNN Stability report' },
);

export type StabilityReport = Static<typeof ReportSchema>;
export type LayerReport = Static<typeof LayerSchema>;
export type Certificate = Static<typeof CertificateSchema>;
export type WitnessReport = Static<typeof WitnessSchema>;
export type AlongData = Static<typeof DataSchema>;
export type Diagnostic = Static<typeof DiagnosticSchema>;
export type StreamingReport = Static<typeof StreamingSchema>;
export type Verdict = StabilityReport['verdict'];
