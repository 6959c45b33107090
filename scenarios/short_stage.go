package scenarios

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// shortExamples has an example of each shape, as ProfileSyntax explains them.
var shortExamples = []string{
	"constant:100/s,30s", "ramp:0..500,1m", "spike:50^800,20s", "steps:100,50,10s,1m", "sine:100~50,10s,1m", "bursts:20^400,1s/5s,1m",
	"replay:rates.csv,x2,10m", "users:20,200ms,30s",
}

func shortExample(shape string) (string, bool) {
	for _, e := range shortExamples {
		if strings.HasPrefix(e, shape+":") {
			return e, true
		}
	}
	return "", false
}

// shortArgs are the arguments of a stage, taken one by one.
type shortArgs struct {
	s      *shortParser
	shape  string
	args   []string
	places []int
	next   int
}

func (a *shortArgs) hint() string {
	e, _ := shortExample(a.shape)
	return "write it like " + e
}

func (a *shortArgs) left() int { return len(a.args) - a.next }

// take is the next argument, and where it stands.
func (a *shortArgs) take(what string) (string, int) {
	if a.left() == 0 {
		a.s.problem(a.s.at, what+" is missing", a.hint())
		return "", a.s.at
	}
	a.next++
	return a.args[a.next-1], a.places[a.next-1]
}

func (a *shortArgs) fail(at int, text, what string) {
	a.s.problem(at, quote(text)+" is not "+what, a.hint())
}

func (a *shortArgs) number(text string, at int, what string) float64 {
	n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(text), "/s"), 64)
	if err != nil || math.IsNaN(n) || math.Abs(n) > maxSeconds {
		a.fail(at, text, what)
		return 0
	}
	return n
}

func (a *shortArgs) rate() float64 {
	text, at := a.take("the rate")
	return a.number(text, at, "a rate")
}

// rates are two rates with a sign between them.
func (a *shortArgs) rates(sign, what string) (float64, float64) {
	text, at := a.take(what)
	first, second, ok := strings.Cut(text, sign)
	if !ok {
		a.fail(at, text, what)
		return 0, 0
	}
	return a.number(first, at, "a rate"), a.number(second, at, "a rate")
}

func (a *shortArgs) duration(what string) Duration {
	text, at := a.take(what)
	return a.asDuration(text, at, what)
}

func (a *shortArgs) asDuration(text string, at int, what string) Duration {
	text = strings.TrimSpace(text)
	t, err := time.ParseDuration(text)
	if err != nil || !a.s.d.duration.MatchString(text) || t <= 0 || Duration(t) > maxDuration {
		a.fail(at, text, what+", as 250ms, 4s or 1m30s, at most 24h")
		return 0
	}
	return Duration(t)
}

// stage reads the arguments of a stage with the arguments' shape.
func (a *shortArgs) stage(st *Stage) {
	const howLong = "how long it takes"
	switch a.shape {
	case "constant":
		st.Rate = a.rate()
	case "ramp":
		from, to := a.rates("..", "a rate at the start and one at the end")
		st.Rate, st.To = from, &to
	case "spike":
		rate, peak := a.rates("^", "a rate and a peak")
		st.Rate, st.Peak = rate, &peak
	case "steps":
		st.Rate = a.rate()
		text, at := a.take("the height of a step")
		st.Steps = &Steps{By: a.number(text, at, "the height of a step"), Every: a.duration("how long a step takes")}
	case "sine":
		mean, amplitude := a.rates("~", "a mean and an amplitude")
		if !(amplitude > 0) {
			a.fail(a.places[0], a.args[0], "a mean and an amplitude above 0")
		}
		st.Rate, st.Sine = mean, &Sine{Amplitude: amplitude, Period: a.duration("how long a swing takes")}
	case "bursts":
		st.Bursts = new(Bursts)
		if strings.Contains(a.args[0], "^") {
			st.Bursts.Between, st.Rate = a.rates("^", "a rate between bursts and one within")
		} else {
			st.Rate = a.rate()
		}
		text, at := a.take("how long a burst lasts, and from one to the next")
		lasts, every, ok := strings.Cut(text, "/")
		if !ok {
			a.fail(at, text, "how long a burst lasts, and from one to the next")
		}
		st.Bursts.For, st.Bursts.Every = a.asDuration(lasts, at, "how long a burst lasts"), a.asDuration(every, at, "how long it is from one burst to the next")
	case "replay":
		st.Replay = new(Replay)
		if st.Replay.File, _ = a.take("a file"); st.Replay.File == "" {
			a.fail(a.places[0], "", "a file")
		}
		if a.left() > 0 && strings.HasPrefix(a.args[a.next], "x") {
			text, at := a.take("a factor")
			if st.Replay.Scale = a.number(text[1:], at, "a factor"); !(st.Replay.Scale > 0) {
				a.fail(at, text, "a factor above 0")
			}
		}
		if a.left() == 0 {
			return // as long as the series
		}
	case "users":
		a.users(st)
	}
	st.For = a.duration(howLong)
}

// users reads a closed loop.
func (a *shortArgs) users(st *Stage) {
	const most = 1_000_000
	text, at := a.take("the number of users")
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		a.fail(at, text, "a number of users, 1 to 1000000")
	}
	st.Users = n
	if a.left() < 2 {
		return // they don't think
	}
	text, at = a.take("how long users think")
	st.Think = &Think{Distribution: Fixed}
	for _, d := range []Distribution{Exponential, Uniform, Fixed} {
		if inner, ok := strings.CutPrefix(text, string(d)+"("); ok && strings.HasSuffix(inner, ")") {
			st.Think.Distribution, text = d, strings.TrimSuffix(inner, ")")
			break
		}
	}
	st.Think.Mean = a.asDuration(text, at, "how long users think")
}
