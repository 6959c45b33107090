package scenarios

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// shapedStages has a stage of every shape, ended by a silent one.
const shapedStages = `        arrivals: poisson
        stages:
          - {name: climb, rate: 10, steps: {by: 5, every: 1s}, for: 4s}
          - {name: swing, rate: 20, sine: {amplitude: 20, period: 1s}, for: 1500ms}
          - {name: bursty, rate: 40, bursts: {every: 1s, for: 200ms, between: 2}, for: 2s}
          - {name: again, replay: {file: monday.csv, scale: 2, seconds: [0, 1, 2.5], rates: [3, 4, 0]}, for: 1s}
          - {name: quiet, rate: 0, for: 2s}
`

// closedTraffic is a closed loop.
const closedTraffic = `    - name: workers
      from: shop
      to: cart
      requests: [{path: /carts/7}]
      profile: {stages: [{name: few, users: 3, think: {mean: 200ms, distribution: exponential}, for: 1s}, {users: 9, think: {mean: 1s}, for: 1s}]}
`

// mixed are requests of every kind.
const mixed = `      connections: each
      requests:
        - {method: GET, path: /, weight: 2}
        - {method: POST, headers: {x-channel: web shop, accept: "*/*"}, body: {bytes: 100, to: 2000, type: application/json}}
        - {method: PUT, body: {p50: 800, p99: 20000}}
`

// shaped is the base scenario with these, and without what names its own phases.
func shaped() string {
	from, to := strings.Index(base, "        stages:\n"), strings.Index(base, "  faults:\n")
	doc := base[:from] + shapedStages + closedTraffic + base[to:]
	return strings.NewReplacer("      requests: [{method: GET, path: /, weight: 2}]\n", mixed, "phase: spike", "phase: swing", "phase: ramp", "phase: climb").Replace(doc)
}

func TestEveryShapeOfAStageSurvivesBeingWritten(t *testing.T) {
	s, err := Parse("s.yaml", []byte(shaped()))
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, s)
	if p := s.Spec.Traffic[1].Profile; !p.Closed() || s.Spec.Traffic[0].Profile.Closed() || p.Stages[1].Think.Distribution != Fixed {
		t.Errorf("%+v", p)
	}
}

func TestStagesThatCannotBeAreRefused(t *testing.T) {
	const stage = "spec.traffic[0].profile.stages"
	for _, c := range []struct{ name, old, new, want string }{
		{"two shapes", "rate: 10, steps", "rate: 10, peak: 20, steps", stage + "[0].steps: a stage has one shape, and this one has peak and steps"},
		{"no rate", "rate: 10, steps", "steps", stage + "[0].rate: is missing (give a number, or replay or users instead)"},
		{"no length", "period: 1s}, for: 1500ms}", "period: 1s}}", stage + "[1].for: is missing"},
		{"rate that is not one", "rate: 10, steps", "rate: ten, steps", stage + `[0].rate: is the text "ten"`},
		{"no step", "by: 5", "by: 0", stage + "[0].steps.by: is 0: that is no step"},
		{"steps below nothing", "by: 5", "by: -5", stage + "[0].steps: the rate would go down to -5"},
		{"steps beyond all", "by: 5", "by: 1000000", stage + "[0].steps: the rate would go up to 3000010 per second (at most 1000000)"},
		{"steps without a height", "by: 5, ", "", stage + "[0].steps.by: is missing"},
		{"steps too short", "every: 1s}, for: 4s", "every: 9ms}, for: 4s", stage + "[0].steps.every: 9ms is too short (10ms or more)"},
		{"steps too many", "{by: 5, every: 1s}, for: 4s", "{by: 0.0001, every: 10ms}, for: 20m", stage + "[0].steps.every: 10ms is 120000 times in 20m0s (at most 100000 times: make it longer)"},
		{"sine below nothing", "amplitude: 20", "amplitude: 21", stage + "[1].sine: the rate would go down to -1"},
		{"sine without one", "amplitude: 20", "amplitude: 0", stage + "[1].sine.amplitude: 0 is out of range (must be above 0"},
		{"bursts without end", "for: 200ms, between", "for: 1s, between", stage + "[2].bursts.for: bursts of 1s every 1s never end"},
		{"replay and rate", "{name: again, ", "{name: again, rate: 1, ", stage + "[3].rate: a stage with replay has no rate of its own"},
		{"replay of nothing", "{file: monday.csv, scale: 2, seconds: [0, 1, 2.5], rates: [3, 4, 0]}", "{scale: 2}", stage + "[3].replay.file: is missing"},
		{"replay of a file beside no file", ", seconds: [0, 1, 2.5], rates: [3, 4, 0]", "", stage + "[3].replay.file: is another file, and this scenario is not read from one"},
		{"replay without some rates", "rates: [3, 4, 0]", "rates: [3, 4]", stage + "[3].replay.rates: has 2 entries, and seconds has 3"},
		{"replay of one point", "seconds: [0, 1, 2.5], rates: [3, 4, 0]", "seconds: [0], rates: [3]", stage + "[3].replay.seconds: has 1 entries"},
		{"replay that begins late", "seconds: [0, 1, 2.5]", "seconds: [0.5, 1, 2.5]", stage + "[3].replay.seconds[0]: is 0.5 (a series begins with 0)"},
		{"replay back in time", "seconds: [0, 1, 2.5]", "seconds: [0, 1, 1]", stage + "[3].replay.seconds[2]: 1 comes after 1 (times rise)"},
		{"replay beyond all", "scale: 2", "scale: 1000000", stage + "[3].replay: the rate would go up to 4000000 per second"},
		{"replay of days", "seconds: [0, 1, 2.5], rates: [3, 4, 0]}, for: 1s", "seconds: [0, 1, 86401], rates: [3, 4, 0]}", stage + "[3].replay: the series takes longer than 24h (add for, \n" + stage + ": the stages together take longer than 24h"},
		{"think without users", "{name: quiet, ", "{name: quiet, think: {mean: 1s}, ", stage + "[4].think: only the users of a closed loop think"},
		{"users among rates", "{name: quiet, rate: 0, ", "{name: quiet, users: 2, ", stage + "[4].users: quiet is a closed loop, and climb has a rate"},
		{"users and rate", "users: 9, ", "users: 9, rate: 1, ", "spec.traffic[1].profile.stages[1].rate: a stage with users has no rate of its own"},
		{"no users", "users: 9, ", "users: 0, ", "spec.traffic[1].profile.stages[1].users: 0 is out of range"},
		{"more users than requests", "users: 9, ", "users: 10001, ", "spec.traffic[1].profile.stages[1].users: 10001 users have more requests under way than maxInFlight (10000)"},
		{"users who arrive", "profile: {stages: [{name: few", "profile: {arrivals: poisson, stages: [{name: few", "spec.traffic[1].profile.arrivals: users of a closed loop do not arrive"},
		{"another arrival", "arrivals: poisson", "arrivals: poison", `spec.traffic[0].profile.arrivals: "poison" is not known (did you mean poisson?`},
		{"latency of a closed loop", "{traffic: buyers, phase: swing", "{traffic: workers, phase: few", "spec.expect.latency[0].traffic: workers is a closed loop, whose users ask less when the service is slow: its latency hides how long others would have waited (coordinated omission)"},
		{"latency over a baseline of a closed loop", "{traffic: buyers, overBaseline: {mesh: none, p50", "{traffic: workers, overBaseline: {mesh: none, p50", "spec.expect.latency[1].traffic: workers is a closed loop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc := shaped()
			if n := strings.Count(doc, c.old); n != 1 {
				t.Fatalf("%q is there %d times", c.old, n)
			}
			doc = strings.Replace(doc, c.old, c.new, 1)
			_, err := Parse("s.yaml", []byte(doc))
			if err == nil {
				t.Fatal("was accepted")
			}
			expectProblems(t, err, strings.Split(c.want, "\n"))
		})
	}
}

func TestAClosedLoopMayHaveAnErrorBudget(t *testing.T) {
	if _, err := Parse("s.yaml", []byte(strings.Replace(shaped(), "{traffic: buyers, phase: climb, rate: 0.1}", "{traffic: workers, rate: 0.1}", 1))); err != nil {
		t.Error(err)
	}
}

func TestAReplayedSeriesIsReadOnceAndThenStandsInTheScenario(t *testing.T) {
	dir := t.TempDir()
	doc := strings.Replace(shaped(), "file: monday.csv, scale: 2, seconds: [0, 1, 2.5], rates: [3, 4, 0]}, for: 1s", "file: monday.csv}", 1)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("s.yaml", doc)
	write("monday.csv", "time,rate\n100,3\n101,4\n102.5,0.5\n")
	s, err := Load(filepath.Join(dir, "s.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, s) // without the file
	want := Stage{Name: "again", For: Duration(2500 * time.Millisecond), Replay: &Replay{File: "monday.csv", Scale: 1, Seconds: []float64{0, 1, 2.5}, Rates: []float64{3, 4, 0.5}}}
	if d := cmp.Diff(want, s.Spec.Traffic[0].Profile.Stages[3]); d != "" {
		t.Error(d)
	}
	for text, want := range map[string]string{
		"time,rate\n1,2\n":          `"monday.csv" has 1 points`,
		"time,rate\n1,2\n2,minus\n": `"monday.csv" line 3: "minus" is not a rate`,
	} {
		write("monday.csv", text)
		_, err := Load(filepath.Join(dir, "s.yaml"))
		if err == nil || !strings.Contains(err.Error(), "s.yaml:52:42: spec.traffic[0].profile.stages[3].replay.file: "+want) {
			t.Errorf("want %s, got %v", want, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "monday.csv")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(filepath.Join(dir, "s.yaml")); err == nil || !strings.Contains(err.Error(), `"monday.csv" no such file`) {
		t.Errorf("got %v", err)
	}
}

func TestTheLengthOfAStageMayPressASeriesTogether(t *testing.T) {
	s := Stage{For: Duration(10 * time.Second), Replay: &Replay{Scale: 3, Seconds: []float64{0, 3600, 7200}, Rates: []float64{10, 20, 10}}}
	if got := s.Requests(); math.Abs(got-450) > 1e-9 { // 3 × 15 per second in the mean
		t.Errorf("%v requests, want 450", got)
	}
}

func TestARecordedSeriesIsReadInItsForms(t *testing.T) {
	const prometheus = `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"job":"shop"},"values":[[1700000000.25,"1.5"],[1700000015.25,"0"]]}]}}`
	for name, c := range map[string]struct {
		text, want string // want is a part of the error
		seconds    []float64
		rates      []float64
	}{
		"seconds":                     {text: "time,rate\r\n5, 1\r\n7.5,2e1\r\n", seconds: []float64{0, 2.5}, rates: []float64{1, 20}},
		"a byte order mark":           {text: "\ufefftime,rate\n5,1\n6,2\n", seconds: []float64{0, 1}, rates: []float64{1, 2}},
		"RFC 3339":                    {text: "time,rate\n2026-01-02T03:04:05Z,1\n2026-01-02T04:04:05.5+01:00,2\n", seconds: []float64{0, 0.5}, rates: []float64{1, 2}},
		"Prometheus":                  {text: "\n" + prometheus, seconds: []float64{0, 15}, rates: []float64{1.5, 0}},
		"no header":                   {text: "5,1\n6,2\n", want: "has no header time,rate"},
		"nothing":                     {text: "", want: "has no header time,rate"},
		"three columns":               {text: "time,rate,x\n1,2,3\n", want: "has no header time,rate"},
		"a row too short":             {text: "time,rate\n1\n", want: "is not CSV"},
		"no time":                     {text: "time,rate\nnoon,1\n", want: `line 2: "noon" is not a time`},
		"both kinds of time":          {text: "time,rate\n2026-01-02T03:04:05Z,1\n7,1\n", want: `line 3: "7" is in seconds`},
		"back in time":                {text: "time,rate\n2,1\n1,1\n", want: "line 3: its time is not after the one before it"},
		"no number":                   {text: "time,rate\n1,NaN\n2,1\n", want: "line 2: NaN is not a rate"},
		"below nothing":               {text: "time,rate\n1,-1\n2,1\n", want: "line 2: -1 is not a rate"},
		"two series":                  {text: strings.Replace(prometheus, `{"metric"`, `{"values":[]},{"metric"`, 1), want: "has 2 series: make one of them, as by sum()"},
		"no series":                   {text: `{"status":"success","data":{"resultType":"matrix","result":[]}}`, want: "has 0 series"},
		"an instant query":            {text: strings.Replace(prometheus, "matrix", "vector", 1), want: `its resultType is "vector"`},
		"an error":                    {text: `{"status":"error","error":"parse error"}`, want: `its status is "error" "parse error"`},
		"other JSON":                  {text: `{"a": []}`, want: "is not Prometheus' answer"},
		"broken JSON":                 {text: `{"a": `, want: "is not Prometheus' answer"},
		"a value that is a number":    {text: strings.Replace(prometheus, `"1.5"`, `1.5`, 1), want: "value 1 is not a time and a rate"},
		"a value that is no number":   {text: strings.Replace(prometheus, `"1.5"`, `"NaN"`, 1), want: "value 1: NaN is not a rate"},
		"more points than a scenario": {text: "time,rate\n" + manyPoints(2001), want: "has more than 2000 points"},
	} {
		t.Run(name, func(t *testing.T) {
			seconds, rates, err := ParseSeries([]byte(c.text))
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("want %q, got %v", c.want, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.seconds, seconds) + cmp.Diff(c.rates, rates); d != "" {
				t.Error(d)
			}
		})
	}
}

func manyPoints(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(plain(float64(i)) + ",1\n")
	}
	return b.String()
}

func TestAScenarioMayHoldTheLongestSeries(t *testing.T) {
	dir := t.TempDir()
	doc := strings.Replace(shaped(), ", seconds: [0, 1, 2.5], rates: [3, 4, 0]}", "}", 1)
	for name, text := range map[string]string{"s.yaml": doc, "monday.csv": "time,rate\n" + manyPoints(maxPoints)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Load(filepath.Join(dir, "s.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, s)
}

func FuzzParseSeries(f *testing.F) {
	for _, s := range []string{"time,rate\n0,1\n1,2\n", "time,rate\n2026-01-02T03:04:05Z,1\n", `{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1,"2"],[2,"3"]]}]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		seconds, rates, err := ParseSeries(data)
		if err != nil {
			return
		}
		r := &Replay{Scale: 1, Seconds: seconds, Rates: rates}
		p := Profile{Stages: []Stage{{Replay: r}}}
		p.Default()
		if len(seconds) != len(rates) || len(seconds) < 2 || len(seconds) > maxPoints || seconds[0] != 0 || p.Stages[0].For <= 0 {
			t.Fatalf("%v %v", seconds, rates)
		}
		for i, q := range rates {
			if !(q >= 0) || i > 0 && !(seconds[i] > seconds[i-1]) {
				t.Fatalf("%v %v", seconds, rates)
			}
		}
		if n := p.Stages[0].Requests(); !(n >= 0) || math.IsInf(n, 0) {
			t.Fatalf("%v requests in %v %v", n, seconds, rates)
		}
	})
}
