// SPDX-License-Identifier: MIT
// What is wrong with how a page looks: page.sh puts this at the end of a
// copy, in a frame. Tells the page around it, in a line for each; or "fine".
(function () {
    var found = [];
    var view = "VIEW", width = "WIDTH";

    function say(what, element) {
        var text = element ? ": " + (element.textContent || element.outerHTML) : "";

        found.push(what + text.replace(/\s+/g, " ").slice(0, 90));
    }

    // [red, green, blue] of "rgb(...)"; null if nothing can be seen of it.
    function color(text) {
        var parts = (text.match(/[\d.]+/g) || []).map(Number);

        return parts.length < 3 || parts[3] === 0 ? null : parts;
    }

    function luminance(rgb) {
        var linear = rgb.slice(0, 3).map(function (part) {
            part /= 255;
            return part <= 0.03928 ? part / 12.92 : Math.pow((part + 0.055) / 1.055, 2.4);
        });

        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    }

    function contrast(a, b) {
        var x = luminance(a), y = luminance(b);

        return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
    }

    function background(element) {
        for (; element; element = element.parentElement) {
            var rgb = color(getComputedStyle(element).backgroundColor);

            if (rgb)
                return rgb;
        }
        return [255, 255, 255];
    }

    function checkWidth() {
        var root = document.documentElement;

        if (innerWidth !== width)
            say("the width is " + innerWidth);
        if (root.scrollWidth > root.clientWidth)
            say("the page scrolls sideways: it is " + root.scrollWidth + " wide");
        document.querySelectorAll("body *").forEach(function (element) {
            if (!element.closest("pre, svg, .wide") &&
                element.getBoundingClientRect().right > root.clientWidth + 1)
                say("sticks out", element);
        });
    }

    // Text has its ground around it in a picture, as a stroke.
    function checkContrast() {
        var walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        var n = 0;

        while (walker.nextNode()) {
            var element = walker.currentNode.parentElement;
            var style = getComputedStyle(element);
            var picture = element.closest("svg");

            if (!walker.currentNode.data.trim() ||
                element.closest("script, style, title"))
                continue;
            n++;
            var ink = color(picture ? style.fill : style.color);
            var ground = picture ? color(style.stroke) : background(element);

            if (!ink || !ground || contrast(ink, ground) < 4.5)
                say("contrast of " + (ink && ground && contrast(ink, ground).toFixed(2)),
                    element);
        }
        if (n < 30)
            say("no text");
    }

    function overlap(a, b) {
        return a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 &&
            b.top < a.bottom - 1;
    }

    function checkPicture(picture) {
        var frame = picture.getBoundingClientRect();
        var texts = Array.from(picture.querySelectorAll("text"));
        var boxes = texts.map(function (text) { return text.getBoundingClientRect(); });
        var unit = picture.querySelector(".unit");

        if (picture.getAttribute("role") !== "img" || !picture.getAttribute("aria-label"))
            say("a picture has no label", picture);
        if (!unit || !/second|time|estimate of pi/.test(unit.textContent))
            say("a picture has no unit", picture);
        if (frame.width < 250)
            say("a picture is " + frame.width + " wide", picture);
        boxes.forEach(function (box, i) {
            if (box.left < frame.left - 1.5 || box.right > frame.right + 1.5 ||
                box.top < frame.top - 1.5 || box.bottom > frame.bottom + 1.5)
                say("cut off", texts[i]);
            for (var j = 0; j < i; j++)
                if (overlap(box, boxes[j]))
                    say("'" + texts[j].textContent + "' overlaps", texts[i]);
        });
    }

    var pictures = document.querySelectorAll("svg.chart");

    checkWidth();
    checkContrast();
    pictures.forEach(checkPicture);
    if (pictures.length > 0 && pictures.length < 5)
        say("there are " + pictures.length + " pictures");
    parent.postMessage((found.length ? found : ["fine"]).map(function (each) {
        return view + " " + each;
    }).join("\n"), "*");
})();
