package scenarios

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const second = Duration(time.Second)

func TestAProfileIsReadFromACommandLine(t *testing.T) {
	for text, want := range map[string][]Stage{
		"constant:100/s,30s":                   {{Rate: 100, For: 30 * second}},
		" constant: 0.5 , 1m30s ":              {{Rate: 0.5, For: 90 * second}},
		"ramp:0..500,1m":                       {{To: new(500.), For: 60 * second}},
		"ramp:1.5..0.5/s,1m":                   {{Rate: 1.5, To: new(.5), For: 60 * second}},
		"spike:50^800,20s":                     {{Rate: 50, Peak: new(800.), For: 20 * second}},
		"steps:100,-10,10s,1m":                 {{Rate: 100, Steps: &Steps{By: -10, Every: 10 * second}, For: 60 * second}},
		"sine:100~50,10s,1m":                   {{Rate: 100, Sine: &Sine{Amplitude: 50, Period: 10 * second}, For: 60 * second}},
		"bursts:20^400,1s/5s,1m":               {{Rate: 400, Bursts: &Bursts{Every: 5 * second, For: second, Between: 20}, For: 60 * second}},
		"bursts:400/s,1s/5s,1m":                {{Rate: 400, Bursts: &Bursts{Every: 5 * second, For: second}, For: 60 * second}},
		"users:20,30s":                         {{Users: 20, For: 30 * second}},
		"users:20,200ms,30s":                   {{Users: 20, Think: &Think{Duration(2e8), Fixed}, For: 30 * second}},
		"users:20,exponential(200ms),30s":      {{Users: 20, Think: &Think{Duration(2e8), Exponential}, For: 30 * second}},
		"users:20,uniform( 1s ),30s":           {{Users: 20, Think: &Think{second, Uniform}, For: 30 * second}},
		"calm=constant:1,1s + constant:2,2s":   {{Name: "calm", Rate: 1, For: second}, {Name: "stage-2", Rate: 2, For: 2 * second}},
		"2x(a=constant:1,1s+constant:2,2s)":    {{Name: "a-1", Rate: 1, For: second}, {Name: "stage-2", Rate: 2, For: 2 * second}, {Name: "a-2", Rate: 1, For: second}, {Name: "stage-4", Rate: 2, For: 2 * second}},
		"2x(2x(a=constant:1,1s))":              {{Name: "a-1-1", Rate: 1, For: second}, {Name: "a-2-1", Rate: 1, For: second}, {Name: "a-1-2", Rate: 1, For: second}, {Name: "a-2-2", Rate: 1, For: second}},
		"constant:1,1s+2x(constant:2,1s)":      {{Rate: 1, For: second}, {Rate: 2, For: second}, {Rate: 2, For: second}},
		"replay:monday.csv":                    {{Replay: &Replay{File: "monday.csv", Scale: 1, Seconds: []float64{0, 2}, Rates: []float64{1, 3}}, For: 2 * second}},
		"replay:monday.csv,x0.5,1m":            {{Replay: &Replay{File: "monday.csv", Scale: 0.5, Seconds: []float64{0, 2}, Rates: []float64{1, 3}}, For: 60 * second}},
		"replay:monday.csv,1m+constant:1/s,1s": {{Replay: &Replay{File: "monday.csv", Scale: 1, Seconds: []float64{0, 2}, Rates: []float64{1, 3}}, For: 60 * second}, {Rate: 1, For: second}},
	} {
		for text, arrivals := range map[string]Arrivals{text: ArrivalsEven, " poisson( " + text + ")": ArrivalsPoisson} {
			closed := strings.Contains(text, "users")
			if closed && arrivals == ArrivalsPoisson {
				continue
			}
			p, err := parseShort(text, func(name string) ([]byte, error) { return []byte("time,rate\n1,1\n3,3\n"), nil })
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			expected := Profile{Stages: append([]Stage(nil), want...), Arrivals: arrivals}
			expected.Default()
			if d := cmp.Diff(expected, p); d != "" {
				t.Errorf("%s (-want +got):\n%s", text, d)
			}
		}
	}
}

func TestAProfileThatCannotBeReadSaysWhereAndWhatWouldBeRight(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "profile:1:1: a stage is missing (use constant, ramp, spike, steps, sine, bursts, replay or users, each with a colon)",
		"constant":                        `profile:1:1: "constant" is not a shape of a stage (did you mean constant:?)`,
		"100":                             `profile:1:1: "100" is not a shape of a stage (use constant,`,
		"constnat:1,1s":                   `profile:1:1: "constnat" is not a shape of a stage (did you mean constant:?)`,
		"constant:1":                      "profile:1:11: how long it takes is missing (write it like constant:100/s,30s)",
		"constant:1,1":                    `profile:1:12: "1" is not how long it takes, as 250ms, 4s or 1m30s, at most 24h`,
		"constant:1,-1s":                  `profile:1:12: "-1s" is not how long it takes`,
		"constant:1,25h":                  `profile:1:12: "25h" is not how long it takes`,
		"constant:x,1s":                   `profile:1:10: "x" is not a rate`,
		"constant:NaN,1s":                 `profile:1:10: "NaN" is not a rate`,
		"constant:1e99,1s":                `profile:1:10: "1e99" is not a rate`,
		"constant:2000000,1s":             "profile:1:1: stages[0].rate: the rate would go up to 2000000 per second (at most 1000000)",
		"constant:-1,1s":                  "profile:1:1: stages[0].rate: the rate would go down to -1",
		"constant:1,1s,2s":                `profile:1:15: "2s" is one argument too many`,
		"constant:1,1s+":                  "profile:1:15: a stage is missing",
		"constant:1,1s)":                  `profile:1:14: ")" is left over (stages are joined by +)`,
		"constant:0,1s":                   "profile:1:1: stages: every rate is 0",
		"ramp:5,1s":                       `profile:1:6: "5" is not a rate at the start and one at the end`,
		"spike:5^1,1s":                    "profile:1:1: stages[0].peak: 1 is below rate (5)",
		"steps:5,0,1s,2s":                 "profile:1:1: stages[0].steps.by: is 0",
		"steps:5,1,1ms,2s":                "profile:1:1: stages[0].steps.every: 1ms is too short",
		"sine:5~0,1s,2s":                  `profile:1:6: "5~0" is not a mean and an amplitude above 0`,
		"sine:5~6,1s,2s":                  "profile:1:1: stages[0].sine: the rate would go down to -1",
		"bursts:5,1s,2s":                  `profile:1:10: "1s" is not how long a burst lasts, and from one to the next`,
		"bursts:5,2s/1s,2s":               "profile:1:1: stages[0].bursts.for: bursts of 2s every 1s never end",
		"users:0,1s":                      `profile:1:7: "0" is not a number of users`,
		"users:1,gauss(1s),1s":            `profile:1:9: "gauss(1s)" is not how long users think`,
		"users:1,1s+constant:1,1s":        "profile:1:1: stages[0].users: stage-1 is a closed loop, and stage-2 has a rate",
		"poisson(users:1,1s)":             "profile:1:1: arrivals: users of a closed loop do not arrive",
		"poisson(constant:1,1s":           "profile:1:22: a ')' is missing",
		"poisson(constant:1,1s)+ramp:":    `profile:1:23: "+ramp:" is left over`,
		"ramp:1..2,1s+poisson(ramp:1":     `profile:1:14: "poisson" is not a shape`,
		"3x(constant:1,1s":                "profile:1:17: a ')' is missing",
		"0x(constant:1,1s)":               "profile:1:1: 0 times 1 stages are too few or too many",
		"9999x(constant:1,1s)":            "profile:1:1: 9999 times 1 stages",
		"A=constant:1,1s":                 `profile:1:1: stages[0].name: "A" is not a DNS label`,
		"a=constant:1,1s+a=constant:1,1s": `profile:1:17: stages[1].name: "a" is there twice`,
		"replay:":                         `profile:1:8: "" is not a file`,
		"replay:nowhere.csv":              `profile:1:1: stages[0].replay.file: "nowhere.csv" no such file`,
		"replay:nowhere.csv,x0,1s":        `profile:1:20: "x0" is not a factor above 0`,
		"é=constant:1,1s":                 `profile:1:1: "é=constant" is not a shape`,
		"constant:é,1x":                   `profile:1:10: "é" is not a rate`,
		"nowhere.yaml":                    "nowhere.yaml: no such file",
	} {
		_, err := ParseProfile(text)
		var e *Errors
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want %s\ngot %v", text, want, err)
		}
	}
}

func TestAFileMayHaveNothingButAProfile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "p.yaml")
	for _, c := range []struct{ text, want string }{
		{"stages:\n  - {rate: 5, for: 2s}\narrivals: poisson\n", ""},
		{"stages:\n  - {replay: {file: r.csv}}\n", ""},
		{"stages: [{rate: 5}]\n", "p.yaml:1:10: stages[0].for: is missing"},
		{"stages: [{rte: 5, for: 1s}]\n", "p.yaml:1:11: stages[0].rte: is not a field (did you mean rate?)"},
		{"arrivals: even\n", "is not a scenario"},
		{"stages: [{rate: 5, for: 2s}]\nkind: Scenario\n", "apiVersion"},
	} {
		for name, text := range map[string]string{"p.yaml": c.text, "r.csv": "time,rate\n0,1\n2,3\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		ts, err := LoadProfiles(file)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: want %s, got %v", c.text, c.want, err)
			}
			continue
		}
		if err != nil || len(ts) != 1 || ts[0].Name != "" || ts[0].Profile.Length() != 2*second {
			t.Errorf("%s: %+v %v", c.text, ts, err)
			continue
		}
		if p, err := ParseProfile(file); err != nil || cmp.Diff(p, ts[0].Profile) != "" {
			t.Errorf("%s: by its name: %+v %v", c.text, p, err)
		}
	}
	if err := os.WriteFile(file, []byte(shaped()), 0o600); err != nil {
		t.Fatal(err)
	}
	if ts, err := LoadProfiles(file); err != nil || len(ts) != 2 || ts[1].Name != "workers" {
		t.Errorf("%+v %v", ts, err)
	}
}

func TestTheSyntaxThatIsExplainedIsThatWhichIsRead(t *testing.T) {
	series := func(string) ([]byte, error) { return []byte("time,rate\n1,1\n3,3\n"), nil }
	for _, e := range shortExamples {
		if !strings.Contains(ProfileSyntax, "\n  "+e+" ") {
			t.Errorf("%s is not explained", e)
		}
		if _, err := parseShort(e, series); err != nil {
			t.Error(err)
		}
	}
}

func FuzzParseProfile(f *testing.F) {
	for _, e := range shortExamples {
		f.Add(e)
		f.Add("poisson(3x(a=" + e + ")+" + e + ")")
	}
	f.Add("users:20,exponential(200ms),30s")
	f.Add("bursts:1,1s/2s,1m+é")
	series := func(string) ([]byte, error) { return []byte("time,rate\n1,1\n3,3\n"), nil }
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseShort(text, series)
		var e *Errors
		switch {
		case errors.As(err, &e):
			problemText(t, err)
			if len(e.Problems) == 0 || e.Problems[0].Message == "" || e.Problems[0].Column > len([]rune(text))+1 {
				t.Fatalf("%q: %+v", text, e.Problems)
			}
			return
		case err != nil:
			t.Fatal(err)
		}
		// What is read is a profile that a scenario may have.
		s, err := Parse("base.yaml", []byte(base))
		if err != nil {
			t.Fatal(err)
		}
		s.Spec.Expect.Latency, s.Spec.Expect.Errors = nil, nil
		s.Spec.Traffic[0].Profile, s.Spec.Faults, s.Spec.Expect.Recovery = p, nil, nil
		s.Spec.Traffic[0].MaxInFlight, s.Spec.Traffic[0].Sessions = 1_000_000, 0
		y, err := Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("again.yaml", y)
		if err != nil {
			t.Fatalf("%q: %v\n%s", text, err, y)
		}
		equal(t, s, again)
		for i := range p.Stages {
			if n := p.Stages[i].Requests(); !(n >= 0) || math.IsInf(n, 0) {
				t.Fatalf("%q: %v requests", text, n)
			}
		}
	})
}
