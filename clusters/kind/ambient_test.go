package kind

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAmbientModeIsKnownByItsProxyLabelsAndRedirection(t *testing.T) {
	meta := func(ns, name string, labels, annotations map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: ns, Name: name, Labels: labels, Annotations: annotations}
	}
	for name, tt := range map[string]struct {
		proxies    []appsv1.DaemonSet
		namespaces []corev1.Namespace
		pods       []corev1.Pod
		want       []string
	}{
		"an ordinary cluster": {
			proxies:    []appsv1.DaemonSet{{ObjectMeta: meta("kube-system", "kube-proxy", nil, nil)}},
			namespaces: []corev1.Namespace{{ObjectMeta: meta("", "app", map[string]string{"istio-injection": "enabled", ambientLabel: "none"}, nil)}},
			pods: []corev1.Pod{
				{ObjectMeta: meta("app", "shop-1", map[string]string{"app": "shop"}, map[string]string{"sidecar.istio.io/status": "{}"})},
				{ObjectMeta: meta("app", "shop-2", nil, map[string]string{ambientRedirected: "disabled"})},
			},
		},
		"its proxy":          {proxies: []appsv1.DaemonSet{{ObjectMeta: meta("istio-system", "ztunnel", nil, nil)}}, want: []string{"DaemonSet/istio-system/ztunnel"}},
		"under another name": {proxies: []appsv1.DaemonSet{{ObjectMeta: meta("mesh", "node-proxy", map[string]string{"app": "ztunnel"}, nil)}}, want: []string{"DaemonSet/mesh/node-proxy"}},
		"a namespace":        {namespaces: []corev1.Namespace{{ObjectMeta: meta("", "app", map[string]string{ambientLabel: "ambient"}, nil)}}, want: []string{"Namespace//app"}},
		"a pod that asks":    {pods: []corev1.Pod{{ObjectMeta: meta("app", "shop-1", map[string]string{ambientLabel: "ambient"}, nil)}}, want: []string{"Pod/app/shop-1"}},
		"a pod that is captured": {
			pods: []corev1.Pod{{ObjectMeta: meta("app", "shop-1", nil, map[string]string{ambientRedirected: "enabled"})}}, want: []string{"Pod/app/shop-1"},
		},
	} {
		var got []string
		for _, s := range ambientSigns(tt.proxies, tt.namespaces, tt.pods) {
			got = append(got, s.name)
			if s.what == "" {
				t.Errorf("%s: %s is not described", name, s.name)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: found %q, want %q", name, got, tt.want)
		}
	}
}
