package upstream

import (
	"net/http"
	"testing"
)

func TestHealthIsAskedAsAnybodyAndTakesMinIOsHeadersOnly(t *testing.T) {
	t.Parallel()
	for target, maintenance := range map[string]bool{"/minio/health/cluster": false, "/minio/health/cluster?maintenance=true": true} {
		for _, status := range []int{http.StatusOK, http.StatusPreconditionFailed, http.StatusServiceUnavailable} {
			c := fakeMinIO(t, func(w http.ResponseWriter, r *http.Request) {
				if r.RequestURI != target || r.Header.Get("Authorization") != "" {
					t.Errorf("asked %s, %v", r.RequestURI, r.Header)
				}
				w.Header().Set("X-Minio-Write-Quorum", "3")
				w.Header().Set("X-Other", "of no concern")
				w.WriteHeader(status)
			})
			said, err := c.Health(t.Context(), "health/cluster", maintenance)
			if err != nil || said.Status != status || len(said.Header) != 1 || said.Header.Get("X-Minio-Write-Quorum") != "3" {
				t.Errorf("%s, %d: %+v, %v", target, status, said, err)
			}
		}
	}
}
