package linkerd

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Annotations of a Service that the model reads.
const (
	retryHTTP       = "retry.linkerd.io/http"
	retryLimit      = "retry.linkerd.io/limit"
	retryTimeout    = "retry.linkerd.io/timeout"
	requestTimeout  = "timeout.linkerd.io/request"
	responseTimeout = "timeout.linkerd.io/response"
	accrual         = "balancer.linkerd.io/failure-accrual"
	accrualFailures = "balancer.linkerd.io/failure-accrual-consecutive-max-failures"
	accrualMin      = "balancer.linkerd.io/failure-accrual-consecutive-min-penalty"
	accrualMax      = "balancer.linkerd.io/failure-accrual-consecutive-max-penalty"
	accrualJitter   = "balancer.linkerd.io/failure-accrual-consecutive-jitter-ratio"
)

// serviceSettings is what the annotations of a Service ask of the proxies that call it.
type serviceSettings struct {
	retry    *retryPolicy
	request  time.Duration // for the whole request with its retries; 0: no limit
	response time.Duration // from the end of a request to the end of its response; 0: no limit
	accrual  *accrualPolicy
}

// retryPolicy says which responses are asked for again.
type retryPolicy struct {
	limit    int
	timeout  time.Duration // for the response's header; 0: no limit
	statuses [][2]int      // from, to
}

func (p *retryPolicy) retries(code int) bool {
	return slices.ContainsFunc(p.statuses, func(s [2]int) bool { return s[0] <= code && code <= s[1] })
}

// accrualPolicy is failure accrual by consecutive failures.
type accrualPolicy struct {
	failures int
	min, max time.Duration
	jitter   float64
}

// readers parse one annotation each, after the default of what it belongs to.
var readers = map[string]func(s *serviceSettings, value string) error{
	retryHTTP: func(s *serviceSettings, v string) (err error) {
		s.retry.statuses, err = parseStatuses(v)
		return err
	},
	retryLimit: func(s *serviceSettings, v string) error {
		n, err := strconv.ParseUint(v, 10, 16)
		if err == nil && n > 0 { // 0 is as if it were absent
			s.retry.limit = int(n)
		}
		return err
	},
	retryTimeout:    func(s *serviceSettings, v string) error { return parseDuration(v, &s.retry.timeout) },
	requestTimeout:  func(s *serviceSettings, v string) error { return parseDuration(v, &s.request) },
	responseTimeout: func(s *serviceSettings, v string) error { return parseDuration(v, &s.response) },
	accrual: func(_ *serviceSettings, v string) error {
		if v != "consecutive" {
			return fmt.Errorf("%q is not consecutive, the one mode that the model knows", v)
		}
		return nil
	},
	accrualFailures: func(s *serviceSettings, v string) error {
		n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31)
		if err == nil && n == 0 {
			return fmt.Errorf("0 failures open no breaker: leave the annotations out")
		}
		s.accrual.failures = int(n)
		return err
	},
	accrualMin: func(s *serviceSettings, v string) error { return parseDuration(v, &s.accrual.min) },
	accrualMax: func(s *serviceSettings, v string) error { return parseDuration(v, &s.accrual.max) },
	accrualJitter: func(s *serviceSettings, v string) (err error) {
		s.accrual.jitter, err = strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err == nil && !(s.accrual.jitter >= 0 && s.accrual.jitter <= 100) {
			err = fmt.Errorf("%q is no ratio", v)
		}
		return err
	},
}

// annotationError says which annotation cannot be read.
type annotationError struct {
	key string
	err error
}

// readSettings reads a Service's annotations. Those that cannot be read are returned, and are without effect.
func readSettings(annotations map[string]string) (serviceSettings, []annotationError) {
	var s serviceSettings
	var bad []annotationError
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		read, ok := readers[key]
		if !ok {
			continue
		}
		if strings.HasPrefix(key, "retry.") && s.retry == nil {
			s.retry = &retryPolicy{limit: 1}
		}
		if strings.HasPrefix(key, accrual) && s.accrual == nil {
			s.accrual = &accrualPolicy{failures: 7, min: time.Second, max: time.Minute, jitter: 0.5}
		}
		if err := read(&s, annotations[key]); err != nil {
			bad = append(bad, annotationError{key, err})
		}
	}
	if s.accrual != nil {
		switch _, on := annotations[accrual]; {
		case !on:
			bad = append(bad, annotationError{accrual, fmt.Errorf("it is missing, and without it its parameters have no effect")})
			s.accrual = nil
		case s.accrual.max == 0 || s.accrual.min > s.accrual.max:
			bad = append(bad, annotationError{accrualMax, fmt.Errorf("the penalties %s to %s are no range", s.accrual.min, s.accrual.max)})
			s.accrual = nil
		}
	}
	if len(bad) > 0 {
		return serviceSettings{}, bad
	}
	return s, nil
}

func parseStatuses(text string) ([][2]int, error) {
	var out [][2]int
	for _, cond := range strings.Split(text, ",") {
		from, to, isRange := strings.Cut(cond, "-")
		a, errA := strconv.Atoi(from)
		b, errB := strconv.Atoi(to)
		if !isRange {
			b, errB = a, errA
		}
		switch {
		case strings.EqualFold(cond, "5xx"):
			out = append(out, [2]int{500, 599})
		case strings.EqualFold(cond, "gateway-error"):
			out = append(out, [2]int{502, 504})
		case errA == nil && errB == nil && 100 <= a && a <= b && b < 600:
			out = append(out, [2]int{a, b})
		default:
			return nil, fmt.Errorf("%q is neither 5xx, gateway-error, a status nor a range of statuses", cond)
		}
	}
	return out, nil
}

// durations are written by the policy controller's grammar: a whole number and one unit.
var durationForm = regexp.MustCompile(`^(0|[0-9]{1,9}(ms|s|m|h|d))$`)

func parseDuration(text string, into *time.Duration) error {
	text = strings.TrimSpace(text)
	if !durationForm.MatchString(text) {
		return fmt.Errorf("%q is no duration such as 300ms or 5s", text)
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		*into = time.Duration(n) * 24 * time.Hour
		return err
	}
	if text == "0" {
		*into = 0
		return nil
	}
	d, err := time.ParseDuration(text)
	*into = d
	return err
}
