package intake

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAnAnswerBeginsOnce(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	w := &Answer{ResponseWriter: rec}
	if w.started {
		t.Error("begun before it began")
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	w.WriteHeader(500)
	if !w.started || w.Status() != 200 || rec.Code != 200 {
		t.Errorf("status %d, %d", w.Status(), rec.Code)
	}
}

// A server that ends, and a request whose end is in doubt, end the connection after an error, too.
func TestErrorsKeepWhatIsSaidOfTheConnection(t *testing.T) {
	t.Parallel()
	h := http.Header{"Connection": {"close"}, "Content-Encoding": {"gzip"}}
	ForgetObject(h, http.StatusNotFound)
	if h.Get("Connection") != "close" || len(h) != 1 {
		t.Errorf("left is %v", h)
	}
}
