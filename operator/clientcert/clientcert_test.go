package clientcert

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// chain is one whose certificates end so long after noon.
func chain(ends ...time.Duration) (c []*x509.Certificate) {
	for _, end := range ends {
		c = append(c, &x509.Certificate{NotAfter: noon.Add(end)})
	}
	return c
}

func TestAChainEndsWithTheFirstOfItsCertificates(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		chains [][]*x509.Certificate
		want   time.Time
	}{
		"none":        {nil, time.Time{}},
		"its own":     {[][]*x509.Certificate{chain(time.Hour, 3*time.Hour)}, noon.Add(time.Hour)},
		"its CA's":    {[][]*x509.Certificate{chain(3*time.Hour, time.Hour, 9*time.Hour)}, noon.Add(time.Hour)},
		"another way": {[][]*x509.Certificate{chain(3*time.Hour, time.Hour), chain(3*time.Hour, 2*time.Hour)}, noon.Add(2 * time.Hour)},
	} {
		if got := End(test.chains); !got.Equal(test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestCheckClosesTheConnectionBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		end    time.Duration
		closes bool
		want   error
	}{
		{time.Hour, false, nil}, {farewell + 1, false, nil}, {farewell, true, nil}, {0, true, nil}, {-1, true, ErrExpired},
	} {
		h := make(http.Header)
		if err := Check(h, noon.Add(test.end), noon); !errors.Is(err, test.want) || (h.Get("Connection") == "close") != test.closes {
			t.Errorf("an end in %v: %v, %v", test.end, err, h)
		}
	}
	if h := make(http.Header); Check(h, time.Time{}, noon) != nil || len(h) > 0 {
		t.Errorf("without a certificate: %v", h)
	}
}

func TestHandlerServesNobodyWhoseCertificateHasExpired(t *testing.T) {
	t.Parallel()
	now, served := noon, 0
	h := Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }), func() time.Time { return now })
	ask := func(state *tls.ConnectionState) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", http.NoBody)
		r.TLS = state
		h.ServeHTTP(w, r)
		return w
	}
	verified := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{chain(time.Hour)}}
	if w := ask(verified); w.Code != 200 || served != 1 || w.Header().Get("Connection") != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	now = now.Add(time.Hour + 1)
	if w := ask(verified); w.Code != 503 || served != 1 || w.Header().Get("Connection") != "close" {
		t.Errorf("expired: %d %v, served %d", w.Code, w.Header(), served)
	}
	for _, state := range []*tls.ConnectionState{nil, {}} {
		if w := ask(state); w.Code != 200 {
			t.Errorf("without a certificate: %d", w.Code)
		}
	}
}
