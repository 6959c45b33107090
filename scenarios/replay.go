package scenarios

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// replays reads the series that a scenario's stages name, and puts them where they are named: what is run and recorded
// needs no other file.
func (d *decoder) replays(s *Scenario, open opener) {
	for i := range s.Spec.Traffic {
		d.replaysOf(fmt.Sprintf("%s[%d].profile", trafficPath, i), &s.Spec.Traffic[i].Profile, open)
	}
}

func (d *decoder) replaysOf(path string, p *Profile, open opener) {
	for i := range p.Stages {
		r := p.Stages[i].Replay
		at := fmt.Sprintf("%s[%d].replay", join(path, "stages"), i)
		if r == nil || r.File == "" || len(r.Seconds)+len(r.Rates) > 0 || !d.sound(at) {
			continue
		}
		at += ".file"
		if open == nil {
			d.unusable(at, "is another file, and this scenario is not read from one", "save it to a file, or write the series out: seconds and rates")
			continue
		}
		data, err := open(r.File)
		if err == nil {
			r.Seconds, r.Rates, err = ParseSeries(data)
		}
		if err != nil {
			message, hint := problemOf(err)
			d.unusable(at, quote(r.File)+" "+message, hint)
		}
	}
}

// problemOf is what an error about another file says of it.
func problemOf(err error) (message, hint string) {
	var e *Errors
	if errors.As(err, &e) {
		return e.Problems[0].Message, e.Problems[0].Hint
	}
	return err.Error(), "give a CSV file with the header time,rate, or Prometheus' answer to a range query"
}

// ParseSeries reads a recorded series of rates: CSV with the header time,rate, whose times are seconds or as RFC 3339, or
// Prometheus' answer to a range query, with one series. The times come back in seconds after the first, rising; the rates
// per second.
func ParseSeries(data []byte) (seconds, rates []float64, err error) {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	points := csvPoints
	if bytes.HasPrefix(data, []byte("{")) {
		points = prometheusPoints
	}
	first := 0.0
	err = points(data, func(where string, at, rate float64) error {
		if len(seconds) == 0 {
			first = at
		}
		at = math.Round((at-first)*1e9) / 1e9
		switch {
		case len(seconds) == maxPoints:
			return fmt.Errorf("has more than %d points: record it with a longer step", maxPoints)
		case math.IsNaN(rate) || rate < 0 || rate > maxSeconds:
			return fmt.Errorf("%s: %v is not a rate", where, rate)
		case !(at <= maxSeconds):
			return fmt.Errorf("%s: the time %v is too long after the first", where, at)
		case len(seconds) > 0 && !(at > seconds[len(seconds)-1]):
			return fmt.Errorf("%s: its time is not after the one before it", where)
		}
		seconds, rates = append(seconds, at), append(rates, rate)
		return nil
	})
	switch {
	case err != nil:
		return nil, nil, err
	case len(seconds) < 2:
		return nil, nil, fmt.Errorf("has %d points; a series has 2 or more", len(seconds))
	}
	return seconds, rates, nil
}

func csvPoints(data []byte, add func(where string, at, rate float64) error) error {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = 2
	r.TrimLeadingSpace = true
	header, err := r.Read()
	if err != nil || strings.TrimSpace(header[0]) != "time" || strings.TrimSpace(header[1]) != "rate" {
		return errors.New("has no header time,rate")
	}
	zero := time.Time{} // of times as RFC 3339
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("is not CSV: %w", err)
		}
		line, _ := r.FieldPos(0)
		where := fmt.Sprintf("line %d", line)
		text := strings.TrimSpace(record[0])
		at, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(at) || math.IsInf(at, 0) {
			t, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				return fmt.Errorf("%s: %s is not a time: give seconds, or RFC 3339", where, quote(text))
			}
			if zero.IsZero() {
				zero = t
			}
			at = t.Sub(zero).Seconds()
		} else if !zero.IsZero() {
			return fmt.Errorf("%s: %s is in seconds, and the times before it are not", where, quote(text))
		}
		rate, err := strconv.ParseFloat(strings.TrimSpace(record[1]), 64)
		if err != nil {
			return fmt.Errorf("%s: %s is not a rate", where, quote(record[1]))
		}
		if err := add(where, at, rate); err != nil {
			return err
		}
	}
}

// prometheusPoints reads what /api/v1/query_range answers.
func prometheusPoints(data []byte, add func(where string, at, rate float64) error) error {
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			ResultType string `json:"resultType"`
			Result     []struct {
				Values [][]any `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("is not Prometheus' answer to a range query: %w", err)
	}
	switch n := len(answer.Data.Result); {
	case answer.Status != "success":
		return fmt.Errorf("is not Prometheus' answer to a range query: its status is %s %s", quote(answer.Status), quote(answer.Error))
	case answer.Data.ResultType != "matrix":
		return fmt.Errorf("is Prometheus' answer to another query: its resultType is %s; ask /api/v1/query_range", quote(answer.Data.ResultType))
	case n != 1:
		return fmt.Errorf("has %d series: make one of them, as by sum()", n)
	}
	for i, v := range answer.Data.Result[0].Values {
		where := fmt.Sprintf("value %d", i+1)
		if len(v) != 2 {
			return fmt.Errorf("%s is not a time and a rate", where)
		}
		at, isTime := v[0].(float64)
		text, isText := v[1].(string)
		rate, err := strconv.ParseFloat(text, 64)
		if !isTime || !isText || err != nil {
			return fmt.Errorf("%s is not a time and a rate", where)
		}
		if err := add(where, at, rate); err != nil {
			return err
		}
	}
	return nil
}
