package proxy

import "net/http"

// errAdminRefused is what a caller of a refused admin route sees: mc prints the
// message, so it says why.
func errAdminRefused(r *route) error {
	return &apiError{http.StatusNotImplemented, "NotImplemented", "bucketseal does not pass " + r.op + " on: " + r.why + ".", nil}
}

// errTokenRefused is MinIO's answer to a scraper without a valid token.
var errTokenRefused error = &apiError{http.StatusForbidden, "AccessDenied", "Access Denied. (Authentication failed, check your access credentials)", nil}
