package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestAReportIsReadAsItWasMeant reads reports that generators made of a short load, cut to what is read of them.
func TestAReportIsReadAsItWasMeant(t *testing.T) {
	ms := func(v ...float64) (q quantiles) {
		for k := range q {
			q[k] = time.Duration(v[k] * 1e6)
		}
		return q
	}
	for file, tc := range map[string]struct {
		read func([]byte, job) (latencies, error)
		want quantiles
	}{
		"fortio.json": {readFortio, ms(2.904761904, 8, 18.469673625, 19.558631662)},
		"k6.json":     {readK6, ms(3.476428, 11.1000588, 23.00760794, 30.969400394)},
		"oha.json":    {readOha, ms(14.340229, 179.663675, 256.896146, 256.896146)},
		"hey.csv":     {readHey, ms(36.9, 62.2, 62.2, 62.2)},
		"vegeta.txt":  {readVegeta, ms(2.816142, 5.722875, 29.849284, 33.057070)},
		"h2load.tsv":  {readH2load, ms(3.971, 4.881, 4.899, 4.899)},
	} {
		t.Run(file, func(t *testing.T) {
			path := filepath.Join("testdata", file)
			out, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tc.read(out, job{Out: path})
			if err != nil {
				t.Fatal(err)
			}
			for k := range ranks {
				if d := got.Q[k] - tc.want[k]; d.Abs() > time.Nanosecond {
					t.Errorf("p%v is %v, want %v", 100*ranks[k], got.Q[k], tc.want[k])
				}
			}
			// Nothing is taken for a report that is none.
			empty := filepath.Join(t.TempDir(), "empty")
			if err := os.WriteFile(empty, []byte("{}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := tc.read([]byte("{}\n"), job{Out: empty}); err == nil {
				t.Errorf("an empty report was read as %v", got.Q)
			}
		})
	}
}

func TestAFigureIsRightWithinOneInAHundredOrAFifthOfAMillisecond(t *testing.T) {
	truth := quantiles{time.Millisecond, 2 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond}
	right := quantiles{1200 * time.Microsecond, 1800 * time.Microsecond, 20_200 * time.Microsecond, 49_500 * time.Microsecond}
	if o := (offBy{}).from(right, truth); !o.right || o.by[3] != -500*time.Microsecond {
		t.Errorf("%+v; want all right", o)
	}
	for k := range right {
		wrong := right
		if wrong[k] += time.Microsecond; wrong[k] < truth[k] {
			wrong[k] -= 2 * time.Microsecond
		}
		if o := (offBy{}).from(wrong, truth); o.right {
			t.Errorf("%+v; want quantile %d wrong", o, k)
		}
	}
}
