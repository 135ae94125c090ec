package edge

import "net/http"

// headerLine is what a line of a header counts beside its name and value: what
// the server needs to keep it. So a limit on bytes is one on lines too.
const headerLine = 32

// HeaderSize returns the size in bytes of r's request line and headers.
func HeaderSize(r *http.Request) int64 {
	size := int64(len(r.Method) + len(r.RequestURI) + len(r.Host))
	for name, values := range r.Header {
		for _, v := range values {
			size += int64(len(name) + len(v) + headerLine)
		}
	}
	return size
}
