package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"testing"
)

func TestNoSendersOfPartsAreRememberedWithoutAnUpload(t *testing.T) {
	t.Parallel()
	s := serverBefore(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<Error><Code>NoSuchUpload</Code></Error>")
	})
	r := &request{Request: (&http.Request{Method: http.MethodPut, Header: http.Header{}}).WithContext(t.Context()), query: url.Values{"uploadId": {"none"}}, bucket: "b", key: "k"}
	if _, err := s.upload(r); !errors.Is(err, errNoSuchUpload) || len(s.senders.till) != 0 {
		t.Errorf("%v, %d senders are remembered", err, len(s.senders.till))
	}
	if err := s.maySendPart(t.Context(), r, sealedUnder{}); err != nil || !s.senders.has(partSenderOf(r)) {
		t.Errorf("a sender is not remembered: %v", err)
	}
	r.Header.Set("Referer", "other")
	if s.senders.has(partSenderOf(r)) {
		t.Error("a sender is taken for another")
	}
}
